"""Continual training: one step per group of new classes, the old model as the teacher.

Channels of the network: 0 is the background, then the classes in the order they were learnt.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation import continual, plop
from ros_xai.segmentation.network import SegmentationNetwork, resize
from ros_xai.segmentation.rehearsal import ObjectMemory
from ros_xai.training.checkpoint import digest
from ros_xai.training.distributed import Process
from ros_xai.training.loop import ALONE, Batch, LoopConfig, fit, generator
from ros_xai.training.rehearsal import RehearsalConfig, rehearse
from ros_xai.training.segmentation import (
    Augmentation,
    Labelled,
    Labels,
    augment,
    cross_entropy,
    to_batch,
    to_tensor,
)

Layers = Mapping[str, Tensor]
DISTILLED = ("stage1", "stage2", "stage3", "fused", "embedding", "logits")


@dataclass(frozen=True)
class ContinualConfig:
    """Weights of the losses; defaults are those of the papers' public code.

    scales, *_factor: Local POD; entropy: trust only pixels below their class's median entropy, or
    below `trust` where the median is lower; lwf, mib: weights of the two distillations.
    """

    scales: tuple[int, ...] = (1, 2, 4)
    backbone_factor: float = 0.01
    logits_factor: float = 0.0005
    entropy: bool = True
    trust: float = 0.001
    lwf: float = 100.0
    mib: float = 10.0


# Local POD grows with the square of the features, and the authors' factors are for theirs: here its
# gradient would be tens of times that of the cross-entropy. The floor trusts half as many pixels
# again as the medians alone do, and they are as often right. See docs/methods/plop.md.
FITTED = ContinualConfig(backbone_factor=0.001, logits_factor=0.00005, trust=0.35)


@dataclass(frozen=True)
class Method:
    """One arm: an entry of OBJECTIVES with its weights, and how batches are made."""

    objective: str = "plop"
    config: ContinualConfig = field(default_factory=ContinualConfig)
    batch: int = 8
    augmentation: Augmentation = field(default_factory=Augmentation)
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig)


Objective = Callable[[Layers, Layers, Tensor, "Tensor | None", ContinualConfig], dict[str, Tensor]]


def fine_tuning(
    old: Layers, new: Layers, labels: Tensor, thresholds: Tensor | None, config: ContinualConfig
) -> dict[str, Tensor]:
    """Cross-entropy on the labels as they are: the lower bound."""
    return {"cross_entropy": cross_entropy(new["logits"], labels)}


def lwf(
    old: Layers, new: Layers, labels: Tensor, thresholds: Tensor | None, config: ContinualConfig
) -> dict[str, Tensor]:
    """Learning without forgetting: distillation of the old logits."""
    return {
        "cross_entropy": cross_entropy(new["logits"], labels),
        "distillation": config.lwf * continual.lwf_distillation(old["logits"], new["logits"]),
    }


def mib(
    old: Layers, new: Layers, labels: Tensor, thresholds: Tensor | None, config: ContinualConfig
) -> dict[str, Tensor]:
    """Modelling the background: unbiased cross-entropy and distillation."""
    logits = resize(new["logits"], labels.shape[1:])
    old_classes = old["logits"].shape[1]
    return {
        "cross_entropy": continual.mib_cross_entropy(logits, labels, old_classes),
        "distillation": config.mib * continual.mib_distillation(old["logits"], new["logits"]),
    }


def plop_objective(
    old: Layers, new: Layers, labels: Tensor, thresholds: Tensor | None, config: ContinualConfig
) -> dict[str, Tensor]:
    """nu * cross-entropy on pseudo-labels + Local POD."""
    probabilities = resize(old["logits"], labels.shape[1:]).softmax(1)
    completed, nu = plop.pseudo_labels(labels, probabilities, thresholds)
    logits = resize(new["logits"], labels.shape[1:])
    return {
        "cross_entropy": plop.pseudo_label_loss(logits, completed, nu),
        "distillation": plop.distillation(
            {name: old[name] for name in DISTILLED},
            {name: new[name] for name in DISTILLED},
            config.scales,
            config.backbone_factor,
            config.logits_factor,
        ),
    }


OBJECTIVES: dict[str, Objective] = {
    "fine-tuning": fine_tuning,
    "lwf": lwf,
    "mib": mib,
    "plop": plop_objective,
}


class ContinualStep(nn.Module):
    """The losses of one step: `network` learns, `old` is frozen.

    The statistics of both networks' normalisation stay those of the first step: batches are small,
    and their noise alone would be most of the distance that distillation sees.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        old: SegmentationNetwork,
        objective: Objective,
        config: ContinualConfig,
        thresholds: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network, self.old = network, old.requires_grad_(False)
        self.objective, self.config = objective, config
        self.register_buffer("thresholds", thresholds)

    def train(self, mode: bool = True) -> ContinualStep:
        super().train(mode)
        self.old.eval()
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            old = self.old.layers(batch["image"])
        new = self.network.layers(batch["image"])
        losses = self.objective(old, new, batch["label"], self.thresholds, self.config)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}


def grown(network: SegmentationNetwork, new_classes: int, balanced: bool) -> SegmentationNetwork:
    """A copy with more classes in every head; 0 new classes is a step to a new domain.

    balanced: new classes share the background's probability (MiB and PLOP); otherwise they start
    at random as a fresh layer would (fine-tuning and LwF).
    """
    bigger = copy.deepcopy(network).requires_grad_(True)
    if new_classes == 0:
        return bigger
    for head in bigger.heads.values():
        classifier = plop.grow_classifier(head.classifier, new_classes)
        if not balanced:
            with torch.no_grad():
                fresh = nn.Conv2d(classifier.in_channels, new_classes, 1)
                classifier.weight[-new_classes:] = fresh.weight
                classifier.bias[-new_classes:] = fresh.bias
                classifier.bias[plop.BACKGROUND] = head.classifier.bias[plop.BACKGROUND]
        head.classifier = classifier
    bigger.config = dataclasses.replace(
        network.config, classes=network.config.classes + new_classes
    )
    return bigger


@torch.no_grad()
def median_entropies(
    old: SegmentationNetwork, data: Labelled, minimum: float = 0.001, batch: int = 16
) -> Tensor:
    """Thresholds [C_old] of the step's training set, from the old model's histograms."""
    old.eval()
    histogram: Tensor | None = None
    for i in range(0, len(data.images), batch):
        part = data.take(slice(i, i + batch))
        probabilities = old(to_tensor(part.images)).softmax(1)
        counts = plop.entropy_histogram(probabilities, torch.from_numpy(part.labels).long())
        histogram = counts if histogram is None else histogram + counts
    if histogram is None:
        raise ValueError("the step has no training images")
    return plop.entropy_thresholds(histogram, minimum)


def step_labels(labels: Labels, learnt: Sequence[int], visible: Sequence[int]) -> Labels:
    """Labels as a step sees them: channel 1 + position in `learnt` for the `visible` classes,
    background for every other class, IGNORE as it was.

    labels: data-set classes. Training shows the step's new classes; scoring all learnt ones.
    """
    table = np.zeros(256, dtype=np.uint8)
    table[IGNORE] = IGNORE
    for channel, class_ in enumerate(learnt, start=1):
        if class_ in visible:
            table[class_] = channel
    return table[labels]


def step_images(
    labels: Labels, new: Sequence[int], future: Sequence[int], disjoint: bool
) -> NDArray[np.intp]:
    """Indices of the images a step trains on: those with a pixel of a new class, and, in the
    disjoint setting, without any pixel of a future one (MiB, section 4.1)."""
    has_new = np.isin(labels, list(new)).any((1, 2))
    has_future = np.isin(labels, list(future)).any((1, 2))
    return np.flatnonzero(has_new & ~(has_future & disjoint))


def learn_step(
    old: SegmentationNetwork,
    data: Labelled,
    new_classes: int,
    method: Method,
    loop: LoopConfig,
    folder: Path,
    memory: ObjectMemory | None = None,
    process: Process = ALONE,
    show: bool = False,
) -> SegmentationNetwork:
    """The network after one step on `data` (labels as of `step_labels`); `old` stays as it is.

    Resumes from the checkpoint in `folder`. With a `memory`, its objects are rehearsed.
    """
    objective = OBJECTIVES[method.objective]
    config = method.config
    uses_background = method.objective in ("mib", "plop")
    torch.manual_seed(loop.seed)
    network = grown(old, new_classes, balanced=uses_background)
    thresholds = None
    if config.entropy:
        seen = augment(data, generator(loop.seed, 0), method.augmentation)
        thresholds = median_entropies(old, seen, config.trust)
    step = ContinualStep(network, copy.deepcopy(old), objective, config, thresholds)

    def make_batch(rng: np.random.Generator) -> Batch:
        chosen = data.take(rng.integers(len(data.images), size=method.batch))
        if memory is not None:
            chosen = rehearse(chosen, memory, rng, method.rehearsal)
        return to_batch(augment(chosen, rng, method.augmentation))

    about = {"method": method.objective, "data": digest(*data), **dataclasses.asdict(method)}
    fit(step, make_batch, loop, folder, process, show=show, about=about)
    return network.eval()
