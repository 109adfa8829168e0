"""The penalties that Fishr is compared with. Each takes one entry per training domain."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def vrex(risks: Sequence[Tensor]) -> Tensor:
    """Variance (ddof 0) of the domains' mean losses (Krueger et al., ICML 2021, V-REx)."""
    return torch.stack(list(risks)).var(correction=0)


def irm(logits: Tensor, labels: Tensor) -> Tensor:
    """IRMv1 of one domain: squared derivative of the risk by a scale on the logits, at 1.

    logits: [N, C]; labels: [N]. In closed form the derivative is
    mean_n sum_c (softmax - onehot)_c logits_c (Arjovsky et al., arXiv 1907.02893, eq. IRMv1).
    """
    residual = logits.softmax(1) - F.one_hot(labels, logits.shape[1])
    return (residual * logits).sum(1).mean().square()


def coral(features: Sequence[Tensor]) -> Tensor:
    """Mean over domain pairs of the squared differences of means and of covariances.

    features: one [N, D] per domain (Sun and Saenko, ECCV 2016, as used in DomainBed).
    """
    means = [f.mean(0) for f in features]
    covariances = [torch.cov(f.T) for f in features]
    pairs = list(itertools.combinations(range(len(features)), 2))
    return torch.stack(
        [
            (means[i] - means[j]).square().mean()
            + (covariances[i] - covariances[j]).square().mean()
            for i, j in pairs
        ]
    ).mean()
