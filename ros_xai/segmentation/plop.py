"""Learning new classes without forgetting (PLOP; Douillard et al., arXiv 2106.15287, 2011.11390).

At step t only the new classes are labelled; older and future ones are labelled background, which
is class 0. The old model is frozen, in evaluation mode, and never receives a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.data.segmentation import IGNORE

BACKGROUND = 0
BINS = 100
UNLIKELY = -5.0  # logit of a background that was never trained


def local_pod(features: Tensor, scales: Sequence[int] = (1, 2, 4)) -> Tensor:
    """Multi-scale pooled embedding of the squared map: [B, C, H, W] -> [B, M].

    At scale s the map is cut into s x s windows; each gives its means over width (per row) and
    over height (per column). Row means of all windows in one column of windows are the row means of
    that strip, so s vertical and s horizontal strips are enough: M = C * (H + W) * sum(scales).
    Each axis is cut by its own length; odd lengths give strips that differ by one.
    Source: eq. 5 to 7.

    Raises:
        ValueError: the map is smaller than the finest scale.
    """
    height, width = features.shape[2:]
    if min(height, width) < max(scales):
        raise ValueError(f"a map of {height}x{width} cannot be cut into {max(scales)} strips")
    squared = features.square()
    rows = squared @ _strip_means(width, scales, squared)  # [B, C, H, strips]
    columns = _strip_means(height, scales, squared).T @ squared  # [B, C, strips, W]
    return torch.cat([rows.flatten(1), columns.flatten(1)], 1)


def _strip_means(length: int, scales: Sequence[int], like: Tensor) -> Tensor:
    """[length, sum(scales)]: a column has 1 / strip length in its strip and 0 elsewhere."""
    strips = [strip for s in scales for strip in torch.arange(length).tensor_split(s)]
    means = torch.zeros(length, len(strips))
    for column, strip in enumerate(strips):
        means[strip, column] = 1 / len(strip)
    return means.to(like)


def pod_distance(old: Tensor, new: Tensor, scales: Sequence[int] = (1, 2, 4)) -> Tensor:
    """Mean over the batch of ||Psi(new) - Psi(old)||_2; maps [B, C, H, W] of one shape."""
    difference = local_pod(new, scales) - local_pod(old.detach(), scales)
    return torch.linalg.vector_norm(difference, dim=1).mean()


def fold_new_classes(logits: Tensor, old_classes: int) -> Tensor:
    """The new logits as the old model saw the world: the new channels added to the background.

    [B, C, H, W] -> [B, old_classes, H, W].
    """
    background = logits[:, :1] + logits[:, old_classes:].sum(1, keepdim=True)
    return torch.cat([background, logits[:, 1:old_classes]], 1)


def distillation(
    old: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
    scales: Sequence[int] = (1, 2, 4),
    backbone_factor: float = 0.01,
    logits_factor: float = 0.0005,
) -> Tensor:
    """Local POD loss: factor * sqrt(all classes / new classes) * distance, averaged over layers.

    old, new: named feature maps [B, C, H, W] with an entry `logits` (of fewer channels in old); the
    names of `new` must be those of `old`. Source: section 4.1 and the authors' factors.
    """
    if set(old) != set(new):
        raise ValueError(f"expected the same layers; got {sorted(old)} and {sorted(new)}")
    old_classes, classes = old["logits"].shape[1], new["logits"].shape[1]
    weight = math.sqrt(classes / max(classes - old_classes, 1))
    losses = [
        backbone_factor * pod_distance(old[name], new[name], scales)
        for name in old
        if name != "logits"
    ]
    folded = fold_new_classes(new["logits"], old_classes)
    losses.append(logits_factor * pod_distance(old["logits"], folded, scales))
    return weight * torch.stack(losses).mean()


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """H(p) / log(C) per pixel: [B, C, H, W] -> [B, H, W] in [0, 1]."""
    entropy = -torch.xlogy(probabilities, probabilities).sum(1)
    return entropy / math.log(probabilities.shape[1])


def entropy_histogram(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Tensor:
    """Counts [C, bins] of the entropies of background pixels, by the class the old model predicts.

    probabilities: [B, C, H, W] of the old model; labels: [B, H, W]. Histograms of batches add up.
    """
    classes = probabilities.shape[1]
    background = labels == BACKGROUND
    prediction = probabilities.argmax(1)[background]
    entropy = normalised_entropy(probabilities)[background]
    bin_ = (entropy * bins).long().clamp(0, bins - 1)
    counts = torch.bincount(prediction * bins + bin_, minlength=classes * bins)
    return counts.reshape(classes, bins)


def entropy_thresholds(histogram: Tensor, minimum: float = 0.001) -> Tensor:
    """Median entropy per class [C] from counts [C, bins] over [0, 1], exact to one bin.

    `minimum` is the floor, and the value of a class that was never predicted.
    """
    bins = histogram.shape[1]
    cumulative = histogram.cumsum(1).double()
    half = cumulative[:, -1:] / 2
    index = (cumulative >= half).int().argmax(1, keepdim=True)
    count = histogram.gather(1, index).clamp(min=1)
    before = cumulative.gather(1, index) - histogram.gather(1, index)
    median = ((index + (half - before) / count) / bins).squeeze(1)
    return torch.where(half.squeeze(1) > 0, median, 0.0).clamp(min=minimum).float()


def pseudo_labels(
    labels: Tensor, probabilities: Tensor, thresholds: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Labels completed by the old model, and nu [B]: the trusted share of background pixels.

    labels: [B, H, W]; probabilities: [B, C_old, H, W]; thresholds: [C_old] of the entropy, None
    trusts every pixel. A trusted background pixel takes the old model's class, an untrusted one
    becomes IGNORE, every other pixel stays. nu is 1 without background. Source: eq. 9 to 11.
    """
    background = labels == BACKGROUND
    prediction = probabilities.max(1).indices  # argmax, which is far slower over strided channels
    trusted = background
    if thresholds is not None:
        trusted = background & (normalised_entropy(probabilities) < thresholds[prediction])
    completed = torch.where(background, torch.where(trusted, prediction, IGNORE), labels)
    count = background.sum((1, 2))
    share = trusted.sum((1, 2)) / count.clamp(min=1)
    return completed, torch.where(count > 0, share, 1.0)


def pseudo_label_loss(logits: Tensor, labels: Tensor, nu: Tensor) -> Tensor:
    """Mean over images of nu * (cross-entropy summed over labelled pixels / all pixels).

    An image whose pixels are mostly ignored weighs less, beside nu. logits: [B, C, H, W]; labels:
    [B, H, W] with IGNORE; nu: [B]. Source: eq. 8 and the authors' code.
    """
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    return (nu * loss.mean((1, 2))).mean()


@torch.no_grad()
def grow_classifier(classifier: nn.Conv2d, new_classes: int) -> nn.Conv2d:
    """A 1x1 classifier with `new_classes` more outputs that predicts what the old one did.

    Each new class gets the background's weights; its bias and the background's become
    b_bg - log(new_classes + 1), so that together they have the old background's probability.
    Source: Cermelli et al., CVPR 2020 (MiB), eq. 8 and 9.
    """
    if new_classes < 1:
        raise ValueError(f"expected at least one new class; got {new_classes}")
    if classifier.bias is None:
        raise ValueError("expected a classifier with a bias")
    old_classes = classifier.out_channels
    grown = nn.Conv2d(classifier.in_channels, old_classes + new_classes, 1)
    background = classifier.bias[BACKGROUND] - math.log(new_classes + 1)
    grown.weight.copy_(
        torch.cat([classifier.weight, classifier.weight[:1].expand(new_classes, -1, -1, -1)])
    )
    grown.bias.copy_(torch.cat([classifier.bias, background.expand(new_classes)]))
    grown.bias[BACKGROUND] = background
    return grown.to(classifier.weight.device)


@torch.no_grad()
def with_background(classifier: nn.Conv2d) -> nn.Conv2d:
    """A 1x1 classifier with an unlikely background as output 0 before the known classes.

    Its logit is the mean of the others + UNLIKELY: below e^-5 of the best class wherever one
    stands out, so that it costs the known classes little.
    """
    if classifier.bias is None:
        raise ValueError("expected a classifier with a bias")
    larger = nn.Conv2d(classifier.in_channels, classifier.out_channels + 1, 1)
    larger.weight.copy_(torch.cat([classifier.weight.mean(0, keepdim=True), classifier.weight]))
    background = classifier.bias.mean() + UNLIKELY
    larger.bias.copy_(torch.cat([background[None], classifier.bias]))
    return larger.to(classifier.weight.device)
