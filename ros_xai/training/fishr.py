"""Training on labelled domains with a penalty that makes them alike: Fishr and its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.data.segmentation import IGNORE
from ros_xai.generalization import penalties
from ros_xai.generalization.fishr import VarianceAverage, fishr_penalty, gradient_variance
from ros_xai.segmentation.network import SegmentationNetwork
from ros_xai.training.distributed import Process
from ros_xai.training.loop import ALONE, NOTHING, About, Batch, LoopConfig, Metrics, fit
from ros_xai.training.segmentation import Augmentation, Labelled, cross_entropy, draw

STRIDE = 4  # of the map that the segmentation network classifies
DRAWS = 100  # of a domain's images before it is said to have no labels


class DomainSamples(NamedTuple):
    """Of one domain: features [N, D] into the linear classifier, logits [N, C], labels [N]."""

    features: Tensor
    logits: Tensor
    labels: Tensor


Penalty = Callable[[Sequence[DomainSamples]], Tensor]


class Fishr(nn.Module):
    """The Fishr penalty of averaged gradient variances, one average per domain."""

    def __init__(self, domains: int, classes: int, width: int, ema: float = 0.95) -> None:
        super().__init__()
        self.average = VarianceAverage(domains, classes, width, ema)

    def forward(self, domains: Sequence[DomainSamples]) -> Tensor:
        return fishr_penalty(self.average([gradient_variance(*samples) for samples in domains]))


def vrex(domains: Sequence[DomainSamples]) -> Tensor:
    """Variance of the domains' risks."""
    return penalties.vrex([F.cross_entropy(d.logits, d.labels) for d in domains])


def irm(domains: Sequence[DomainSamples]) -> Tensor:
    """IRMv1, averaged over the domains."""
    return torch.stack([penalties.irm(d.logits, d.labels) for d in domains]).mean()


def coral(domains: Sequence[DomainSamples]) -> Tensor:
    """Distance of the domains' feature means and covariances."""
    return penalties.coral([d.features for d in domains])


class GeneralizedSegmentation(nn.Module):
    """Cross-entropy of all pixels + weight * penalty of sampled pixels.

    A sample of the penalty is one pixel of the classified map (stride 4) with the label of its
    image pixel: `pixels` of the batch, the same number per domain.
    """

    def __init__(self, network: SegmentationNetwork, penalty: Penalty, weight: float) -> None:
        super().__init__()
        self.network, self.penalty, self.weight = network, penalty, weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        layers = self.network.layers(batch["image"])
        risk = cross_entropy(layers["logits"], batch["label"])
        penalty = self.penalty(sampled_pixels(layers, batch["label"], batch["pixels"]))
        return {"loss": risk + self.weight * penalty, "risk": risk, "penalty": penalty}


def sampled_pixels(
    layers: dict[str, Tensor], labels: Tensor, pixels: Tensor
) -> list[DomainSamples]:
    """The pixels [E, P] of a batch whose images are ordered by domain, equally many of each."""
    count = len(pixels)

    def by_domain(x: Tensor) -> Tensor:  # [E * B, C, h, w] -> [E, B * h * w, C]
        return x.permute(0, 2, 3, 1).reshape(count, -1, x.shape[1])

    features, logits = by_domain(layers["embedding"]), by_domain(layers["logits"])
    small = labels[:, ::STRIDE, ::STRIDE].reshape(count, -1)
    return [
        DomainSamples(features[e, index], logits[e, index], small[e, index])
        for e, index in enumerate(pixels)
    ]


def domain_batch(
    domains: Sequence[Labelled],
    per_domain: int,
    pixels: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> Batch:
    """Equally many images of each domain, in their order, and labelled pixels [E, P] of each.

    Raises:
        ValueError: a domain has next to no labelled pixels.
    """
    parts = [
        _with_labels(f"domain {number} of {len(domains)}", data, per_domain, rng, augmentation)
        for number, data in enumerate(domains, start=1)
    ]
    chosen = []
    for part in parts:
        labelled = torch.nonzero(_judged(part) != IGNORE).squeeze(1)
        chosen.append(labelled[torch.from_numpy(rng.integers(len(labelled), size=pixels))])
    batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {**batch, "pixels": torch.stack(chosen)}


def _judged(part: Batch) -> Tensor:
    """Labels of the pixels that a penalty may look at."""
    return part["label"][:, ::STRIDE, ::STRIDE].reshape(-1)


def _with_labels(
    name: str, data: Labelled, count: int, rng: np.random.Generator, augmentation: Augmentation
) -> Batch:
    """The first draw that has a labelled pixel."""
    for _ in range(DRAWS):
        part = draw(data, count, rng, augmentation)
        if (_judged(part) != IGNORE).any():
            return part
    raise ValueError(
        f"{name}: {DRAWS} draws of {count} images without a labelled pixel; "
        "expected labels in every domain, leave it out or label more of it"
    )


def fit_annealed(
    module: nn.Module,
    make_batch: Callable[[np.random.Generator], Batch],
    config: LoopConfig,
    anneal_steps: int,
    folder: Path,
    process: Process = ALONE,
    show: bool = False,
    about: About = NOTHING,
) -> Metrics:
    """`fit` with `module.weight` 0 for `anneal_steps`, then as it is and with a new optimiser.

    Both phases are resumed from their own checkpoints under `folder`.
    """
    weight = module.weight
    about = {**about, "anneal_steps": anneal_steps}
    if anneal_steps:
        module.weight = 0.0
        first = replace(config, steps=min(anneal_steps, config.steps))
        where = folder / "annealing"
        metrics = fit(module, make_batch, first, where, process, show=show, about=about)
        module.weight = weight
        if first.steps == config.steps:
            return metrics
    # Another seed, or the second phase would see the batches of the first again.
    second = replace(config, steps=config.steps - anneal_steps, seed=config.seed + 2**20)
    where = folder / "penalised"
    return fit(module, make_batch, second, where, process, show=show, about=about)
