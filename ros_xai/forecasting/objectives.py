"""What the network is trained for: CAB and the ways to train that it is compared with.

Ben-Younes et al., arXiv 2109.08048. Every objective is a function of the same two branches, `full`
with and `blind` without context, and gives the mean loss of the batch, to be minimised. A branch is
computed when it is first asked for, so that objectives of one branch cost half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ros_xai.data.forecasting import HORIZON
from ros_xai.forecasting.network import Modes

OUTLIER = 20.0  # m


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; the values of CAB's configuration."""

    kl: float = 100.0  # of KL[q || p] in the variational bound
    free_bits: float = 0.07  # nats of that divergence that are free
    blind: float = 1.0  # lambda of eq. 5
    divergence: float = 5.0  # lambda_KL of eq. 5
    unfused: float = 0.1  # of RUBiZ's likelihood with the full branch's own latent


class Branch(NamedTuple):
    """Logits [B,K] of p(z|x) and q(z|x,y), and log p(y_t|x,z) [B,K,T] in nats per step."""

    prior: Tensor
    posterior: Tensor
    log_density: Tensor


class Branches(Protocol):
    """Both branches of one batch, with the same weights."""

    @property
    def full(self) -> Branch: ...

    @property
    def blind(self) -> Branch: ...


def log_density(modes: Modes, truth: Tensor, position_noise: float = 0.01) -> Tensor:
    """log p(y_t|x,z) [B,K,T] in nats of each step of the truth [B,T,2] under each mode.

    A step counts at most 6 nats: nothing is gained by certainty beyond a centimetre, the noise of
    the tracks that is added to the covariance. It counts at least about -6, as CAB clamps it, so
    that outliers do not rule; here the floor slopes down with the distance in units of `OUTLIER`,
    for on a level one a network whose modes are all far off would learn nothing. The same for all
    objectives.
    """
    x, y = (truth[:, None] - modes.mean).unbind(dim=-1)
    S = modes.covariance
    a, b = S[..., 0, 0] + position_noise**2, S[..., 0, 1]
    d = S[..., 1, 1] + position_noise**2
    determinant = a * d - b * b
    mahalanobis = (d * x * x - 2 * b * x * y + a * y * y) / determinant
    step = -0.5 * (mahalanobis + determinant.log()) - math.log(2 * math.pi)
    floor = -6 - 0.5 * (x * x + y * y) / OUTLIER**2
    return torch.logaddexp(step, floor).clamp(max=6.0)


def mixture_log_likelihood(logits: Tensor, log_density: Tensor) -> Tensor:
    """sum_t log sum_z p(z) p(y_t|x,z) [B] of logits [B,K] and log densities [B,K,T]: eq. 1 with a
    mixture at every step, as the code of Trajectron++ and CAB has it.

    In a mixture of whole trajectories twelve steps' nats stand against a logit that is clipped to
    a few: the truth picks its mode whatever the latent says, so that a latent that says nothing, or
    names a mode that fits few, costs nothing.
    """
    weighted = logits.log_softmax(dim=-1)[..., None] + log_density
    return torch.logsumexp(weighted, dim=-2).sum(dim=-1)


def categorical_kl(logits: Tensor, other: Tensor) -> Tensor:
    """KL[softmax(logits) || softmax(other)] [B] in nats."""
    log_p, log_q = logits.log_softmax(dim=-1), other.log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def mutual_information(logits: Tensor) -> Tensor:
    """I(z; x) over the batch: the entropy of the mean p(z|x) less the mean entropy, nats."""
    p = logits.softmax(dim=-1)
    return _entropy(p.mean(dim=0)) - _entropy(p).mean()


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(dim=-1)


def cvae(branch: Branch, weights: Weights, likelihood_weight: Tensor | float = 1.0) -> Tensor:
    """Eq. 2 with Trajectron++'s mutual information; modes are weighed by q in the likelihood.

    `likelihood_weight` [B] weighs the samples' likelihoods.
    """
    likelihood = mixture_log_likelihood(branch.posterior, branch.log_density)
    kl = categorical_kl(branch.posterior, branch.prior).mean().clamp(min=weights.free_bits)
    bound = -(likelihood_weight * likelihood).mean() + weights.kl * kl
    return bound - mutual_information(branch.prior)


def base(branches: Branches, weights: Weights) -> Tensor:
    """The variational bound with context: eq. 5 with both lambdas zero."""
    return cvae(branches.full, weights)


def no_context(branches: Branches, weights: Weights) -> Tensor:
    """The variational bound of a network that never sees its context."""
    return cvae(branches.blind, weights)


def blind_loss(branches: Branches, weights: Weights) -> Tensor:
    """Eq. 5 with lambda_KL zero: the blind branch is trained too, nothing sets the two apart."""
    return cvae(branches.full, weights) + weights.blind * cvae(branches.blind, weights)


def cab(branches: Branches, weights: Weights) -> Tensor:
    """Eq. 3 to 5: the context has to change the latent.

    The divergence is maximised through the full prior only; it is bounded because logits are
    clipped in training.
    """
    divergence = categorical_kl(branches.full.prior, branches.blind.prior.detach()).mean()
    return blind_loss(branches, weights) - weights.divergence * divergence


def reweight(branches: Branches, weights: Weights) -> Tensor:
    """Eq. 7: what the blind branch forecasts well counts less for the full one.

    Likelihoods are taken per step inside the sigmoid, which saturates on sums over twelve.
    """
    blind = branches.blind
    known = mixture_log_likelihood(blind.posterior, blind.log_density).detach()
    surprise = torch.sigmoid(-known / HORIZON)
    return cvae(branches.full, weights, likelihood_weight=1 + surprise) + cvae(blind, weights)


def rubiz(branches: Branches, weights: Weights) -> Tensor:
    """RUBi (Cadene et al., NeurIPS 2019) on the latent: the full branch learns what is left to say
    once the blind one has spoken, softmax(sigmoid(l) * sigmoid(l~)).

    The blind logits are fused without gradient; forecasts use the full branch's own latent.
    """
    full, blind = branches.full, branches.blind
    fused = Branch(
        prior=full.prior.sigmoid() * blind.prior.detach().sigmoid(),
        posterior=full.posterior.sigmoid() * blind.posterior.detach().sigmoid(),
        log_density=full.log_density,
    )
    own = mixture_log_likelihood(full.posterior, full.log_density).mean()
    return cvae(fused, weights) + cvae(blind, weights) - weights.unfused * own
