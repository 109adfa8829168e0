"""Fishr: invariant gradient variances (Rame et al., ICML 2022, arXiv 2109.02934).

The gradients are those of the sum of cross-entropies with respect to a linear classifier. They are
closed-form, so no automatic per-sample differentiation is needed; the graph is kept, and the
penalty reaches the featuriser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


def gradient_variance(features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Variance over the samples (ddof 0) of d loss / d weight [C, D] and d loss / d bias [C].

    features: [N, D] into the classifier; logits: [N, C] out of it; labels: [N]. Per sample
    g_bias = softmax(logits) - onehot(label) and g_weight = g_bias outer features, so that the
    means of g and g^2 are matrix products and no [N, C, D] tensor is made. Float32 throughout:
    squares of gradients underflow in half precision. Source: eq. 3.
    """
    features, logits = features.float(), logits.float()
    residual = logits.softmax(1) - F.one_hot(labels, logits.shape[1])
    count = len(labels)
    mean = residual.T @ features / count
    second_moment = residual.square().T @ features.square() / count
    return {
        "weight": second_moment - mean.square(),
        "bias": residual.var(0, correction=0),
    }


def fishr_penalty(variances: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """(1/E) sum_e mean((v_e - v)^2), v the mean over the domains; one mapping per domain.

    The mean runs over all entries of all tensors, concatenated. Source: eq. 4.
    """
    stacked = torch.stack(
        [torch.cat([v.flatten() for _, v in sorted(domain.items())]) for domain in variances]
    )
    return (stacked - stacked.mean(0)).square().mean()


@dataclass
class VarianceAverage:
    """Moving average of every domain's variances, corrected so that v_e keeps a gradient of 1.

    update: average <- gamma * average + (1 - gamma) * v; returned is average / (1 - gamma), the
    past without gradient. The first average is v itself.
    """

    gamma: float = 0.95
    average: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def update(self, domain: int, variance: Mapping[str, Tensor]) -> dict[str, Tensor]:
        past = self.average.get(domain, {name: v.detach() for name, v in variance.items()})
        mixed = {n: self.gamma * past[n] + (1 - self.gamma) * v for n, v in variance.items()}
        self.average[domain] = {name: v.detach() for name, v in mixed.items()}
        return {name: v / (1 - self.gamma) for name, v in mixed.items()}


@dataclass(frozen=True)
class FishrConfig:
    """Weight lambda of the penalty, the steps before it is switched on, gamma of the average."""

    penalty: float = 1000.0
    anneal_steps: int = 1500
    ema: float = 0.95

    def weight(self, step: int) -> float:
        """Weight of the penalty at `step`."""
        return self.penalty if step >= self.anneal_steps else 0.0

    def restarts_optimizer(self, step: int) -> bool:
        """Whether Adam is made anew before `step`: its moments belong to another objective."""
        return step == self.anneal_steps > 0
