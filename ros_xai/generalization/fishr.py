"""Fishr: invariant gradient variances (Rame et al., ICML 2022, arXiv 2109.02934).

The gradients are those of the sum of cross-entropies with respect to a linear classifier. They are
closed-form, so no automatic per-sample differentiation is needed; the graph is kept, and the
penalty reaches the featuriser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


class VarianceAverage(nn.Module):
    """Moving average of every domain's variances, corrected so that v_e keeps a gradient of 1.

    average <- gamma * average + (1 - gamma) * v; returned is average / (1 - gamma), the past
    without gradient. The first average is v itself. The averages are buffers: a resumed run goes
    on with them. Domains must always come in the same order.
    """

    started: Tensor

    def __init__(self, domains: int, classes: int, width: int, gamma: float = 0.95) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("weight", torch.zeros(domains, classes, width))
        self.register_buffer("bias", torch.zeros(domains, classes))

    def forward(self, variances: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
        """Corrected averages, one mapping of `weight` and `bias` per domain, after an update."""
        corrected = {}
        for name in ("weight", "bias"):
            current = torch.stack([variance[name] for variance in variances])
            average = self.get_buffer(name)
            past = average.clone() if self.started else current.detach()
            mixed = self.gamma * past + (1 - self.gamma) * current
            average.copy_(mixed.detach())
            corrected[name] = mixed / (1 - self.gamma)
        self.started.fill_(True)
        return [{name: v[e] for name, v in corrected.items()} for e in range(len(variances))]


@dataclass(frozen=True)
class FishrConfig:
    """Weight lambda of the penalty, steps before it is switched on (with a new Adam, whose moments
    would belong to another objective), gamma of the average."""

    penalty: float = 1000.0
    anneal_steps: int = 1500
    ema: float = 0.95
