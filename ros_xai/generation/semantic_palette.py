"""Semantically-assisted activation and its losses (Le Moing et al., CVPR 2021, arXiv 2106.01629).

A layout's palette is the share of every class in it. The activation gives a class its share by
construction; the losses make the classes tile the image, so that the shares survive the arg-max.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6


def assisted_activation(
    scores: Tensor, proportions: Tensor, region: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """p_c = (m_c + eps) / sum_k (m_k + eps), with m_c = y_c A softmax_pixels(scores_c).

    scores: [B, C, H, W]; proportions y: [B, C], summing to 1 over C; region: weights [B, 1, H, W]
    in [0, 1] of the pixels that are asked for, all by default; A is their sum. Returns
    probabilities p and masks m, both [B, C, H, W]; the mean of m_c over the region is y_c exactly.
    A class with less than one pixel is left out, also by eps. In float32 whatever the scores are:
    m_c spans the number of pixels.
    """
    height, width = scores.shape[2:]
    logits = scores.float().flatten(2)
    if region is None:
        area = logits.new_full((len(logits), 1), float(height * width))
    else:
        weights = region.float().flatten(2)
        area = weights.sum(2).clamp(min=EPS)  # [B, 1]
        logits = logits + weights.clamp(min=1e-30).log()
    shares = at_least_a_pixel(proportions.float(), area)
    attention = logits.softmax(dim=2)
    masks = (attention * (shares * area)[:, :, None]).unflatten(2, (height, width))
    present = (shares > 0)[:, :, None, None]
    weighted = (masks + EPS) * present
    return weighted / weighted.sum(dim=1, keepdim=True), masks


def at_least_a_pixel(proportions: Tensor, area: Tensor) -> Tensor:
    """Proportions [B, C] with those below 1 / area [B, 1] set to 0, and renormalised.

    Where nothing is left (more classes than pixels), the largest class keeps all.
    """
    kept = torch.where(proportions * area < 1, 0.0, proportions)
    largest = F.one_hot(proportions.argmax(1), proportions.shape[1]).to(kept)
    kept = torch.where(kept.sum(1, keepdim=True) > 0, kept, largest)
    return kept / kept.sum(dim=1, keepdim=True)


def spread(masks: Tensor, region: Tensor | None = None) -> Tensor:
    """mean (sum_c m_c - 1)^2: 0 when the masks tile the region."""
    return _mean((masks.sum(dim=1, keepdim=True) - 1) ** 2, region)


def entropy(probabilities: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean over pixels of -sum_c p_c log(p_c + 1e-5): 0 when every pixel has one class."""
    terms = -(probabilities * (probabilities + 1e-5).log()).sum(dim=1, keepdim=True)
    return _mean(terms, region)


def recovery(probabilities: Tensor, proportions: Tensor) -> Tensor:
    """KL(y || mean_pixels p), the matching loss of a generator without the activation."""
    achieved = probabilities.mean(dim=(2, 3))
    return F.kl_div((achieved + 1e-5).log(), proportions, reduction="batchmean")


def _mean(values: Tensor, region: Tensor | None) -> Tensor:
    if region is None:
        return values.mean()
    return (values * region).sum() / region.sum().clamp(min=EPS)
