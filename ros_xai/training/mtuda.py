"""Adversarial adaptation to unlabelled targets: ADVENT, Multi-Dis. and MTKT (arXiv 2108.06962).

One backward pass serves both players: discriminators see detached predictions, and the network
sees discriminators whose weights are held fixed, so neither gradient reaches the other side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ros_xai.segmentation import mtuda
from ros_xai.segmentation.network import SegmentationNetwork, resize, with_heads
from ros_xai.training.loop import Batch
from ros_xai.training.segmentation import (
    Augmentation,
    Images,
    Labelled,
    cross_entropy,
    draw,
    draw_images,
)

Method = Literal["source-only", "advent", "multi-dis", "mtkt"]
AGNOSTIC = "agnostic"


@dataclass(frozen=True)
class AdaptationConfig:
    """Weights of the paper. `advent` with one target is the single-target model, with several the
    baseline that takes their union for one domain.

    adversarial, auxiliary_*: weights of the main and of the stage-3 head; agnostic_source: weight
    of the source labels for MTKT's agnostic head, 0 in the authors' code; teacher_steps: steps
    before the specific heads teach it; width: of the discriminators.
    """

    method: Method = "mtkt"
    adversarial: float = 1e-3
    auxiliary_adversarial: float = 2e-4
    auxiliary_segmentation: float = 0.1
    transfer: float = 1.0
    agnostic_source: float = 0.0
    teacher_steps: int = 2000
    width: int = 64


def adaptation_heads(config: AdaptationConfig, targets: int) -> tuple[tuple[str, str], ...]:
    """Heads and the maps they read: the one used at test time first, each with an auxiliary."""
    if config.method == "mtkt":
        names = [AGNOSTIC, *(f"target{t}" for t in range(targets))]
    else:
        names = ["main"]
    return tuple(
        pair for name in names for pair in ((name, "fused"), (f"{name}_auxiliary", "stage3"))
    )


class Adaptation(nn.Module):
    """All losses of one method on a batch of `adaptation_batch`."""

    step: Tensor

    def __init__(
        self, network: SegmentationNetwork, config: AdaptationConfig, targets: int
    ) -> None:
        super().__init__()
        self.config, self.targets = config, targets
        self.network = with_heads(network, adaptation_heads(config, targets))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.discriminators = nn.ModuleDict(
            {
                f"{name}{level}": mtuda.Discriminator(network.config.classes, config.width)
                for name, *_ in self._games()
                for level in ("", "_auxiliary")
            }
        )

    def deployed(self) -> SegmentationNetwork:
        """The network with its test-time head alone, as `main`."""
        return with_heads(self.network, (("main", "fused"),)).eval()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """batch: image and label of the source, target0.. of the targets."""
        images = [batch["image"], *(batch[f"target{t}"] for t in range(self.targets))]
        if self.config.method == "source-only":
            images = images[:1]
        sizes = [len(part) for part in images]
        # One pass, so that normalisation is trained on the mixture it will be used with.
        features = self.network.encode(torch.cat(images))
        losses = {"segmentation": self._segmentation(features, batch["label"])}
        maps = {
            name: self._self_information(features, name, images[0].shape[2:], sizes)
            for name in {part for game in self._games() for part in self._heads_of(game)}
        }
        losses |= self._adversarial(maps)
        if self.config.method == "mtkt" and self.step >= self.config.teacher_steps:
            losses["transfer"] = self.config.transfer * self._transfer(features, sizes)
        if self.training:
            self.step += 1
        accuracy = losses.pop("domain_accuracy", None)
        total = {"loss": torch.stack(list(losses.values())).sum(), **losses}
        return total if accuracy is None else {**total, "domain_accuracy": accuracy}

    def _games(self) -> Iterator[tuple[str, str, list[int], list[int]]]:
        """(discriminator, head, domains it calls 0, domains it calls 1); domain 0 is the source."""
        targets = range(1, self.targets + 1)
        if self.config.method == "advent":
            yield "union", "main", [0], list(targets)
        elif self.config.method == "multi-dis":
            for t in targets:
                yield f"source_{t}", "main", [0], [t]
            for t in targets if self.targets > 1 else ():
                yield f"others_{t}", "main", [s for s in targets if s != t], [t]
        elif self.config.method == "mtkt":
            for t in targets:
                yield f"source_{t}", f"target{t - 1}", [0], [t]

    @staticmethod
    def _heads_of(game: tuple[str, str, list[int], list[int]]) -> tuple[str, str]:
        return game[1], f"{game[1]}_auxiliary"

    def _segmentation(self, features: dict[str, Tensor], labels: Tensor) -> Tensor:
        total = labels.new_zeros((), dtype=torch.float32)
        for name, source in self.network.config.heads:
            weight = self.config.auxiliary_segmentation if name.endswith("_auxiliary") else 1.0
            if name.startswith(AGNOSTIC):
                weight *= self.config.agnostic_source
            if weight:
                logits = self.network.heads[name](features[source][: len(labels)])[1]
                total = total + weight * cross_entropy(logits, labels)
        return total

    def _self_information(
        self, features: dict[str, Tensor], head: str, size: torch.Size, sizes: list[int]
    ) -> tuple[Tensor, ...]:
        """Self-information of a head's predictions at image size, one tensor per domain."""
        source = dict(self.network.config.heads)[head]
        logits = resize(self.network.heads[head](features[source])[1], size)
        return mtuda.self_information(logits.softmax(1)).split(sizes)

    def _adversarial(self, maps: dict[str, tuple[Tensor, ...]]) -> dict[str, Tensor]:
        fooling, telling, accuracies = [], [], []
        for name, head, zeros, ones in self._games():
            for level, weight in (
                ("", self.config.adversarial),
                ("_auxiliary", self.config.auxiliary_adversarial),
            ):
                discriminator = self.discriminators[name + level]
                domain0 = torch.cat([maps[head + level][d] for d in zeros])
                domain1 = torch.cat([maps[head + level][d] for d in ones])
                fixed = {k: p.detach() for k, p in discriminator.named_parameters()}
                fooled = functional_call(discriminator, fixed, (domain1,))
                fooling.append(weight * mtuda.domain_loss(fooled, mtuda.SOURCE))
                told0 = discriminator(domain0.detach())
                told1 = discriminator(domain1.detach())
                telling.append(mtuda.domain_loss(told0, mtuda.SOURCE) / 2)
                telling.append(mtuda.domain_loss(told1, mtuda.TARGET) / 2)
                if not level:
                    accuracies.append(mtuda.domain_accuracy(told0, told1))
        if not fooling:
            return {}
        return {
            "adversarial": torch.stack(fooling).sum(),
            "discriminators": torch.stack(telling).sum(),
            "domain_accuracy": torch.tensor(float(np.mean(accuracies))),
        }

    def _transfer(self, features: dict[str, Tensor], sizes: list[int]) -> Tensor:
        """Sum over targets of KL(specific || agnostic), on each target's own images."""
        losses = []
        for t, fused in enumerate(features["fused"].split(sizes)[1:]):
            teacher = self.network.heads[f"target{t}"](fused)[1]
            student = self.network.heads[AGNOSTIC](fused)[1]
            losses.append(mtuda.knowledge_transfer(teacher, student))
        return torch.stack(losses).sum()


def adaptation_batch(
    source: Labelled,
    targets: Sequence[Images],
    count: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> Batch:
    """`count` labelled source images and as many unlabelled ones of every target."""
    batch = draw(source, count, rng, augmentation)
    for t, images in enumerate(targets):
        batch[f"target{t}"] = draw_images(images, count, rng, augmentation)
    return batch
