"""A segmenter trained on all rendered domains but one, scored on the one it never saw."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.driving_renders import RENDERS, rendered
from benchmarks.seeded import Finished, interval
from ros_xai.segmentation.metrics import mean_iou
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training.fishr import (
    Fishr,
    GeneralizedSegmentation,
    coral,
    domain_batch,
    fit_annealed,
    vrex,
)
from ros_xai.training.loop import Batch, LoopConfig
from ros_xai.training.segmentation import Augmentation, Labelled, score


@dataclass(frozen=True)
class DrivingConfig:
    """Weights of the penalties are of the size of the risk when they are switched on."""

    domains: tuple[str, ...] = ("clear", "dusk", "night", "rain")
    network: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(widths=(12, 24, 48, 96), blocks=1, decoder=32)
    )
    steps: int = 400
    anneal_steps: int = 150
    per_domain: int = 3
    pixels: int = 2048
    ema: float = 0.95
    learning_rate: float = 2e-3
    # Colours are what the domains differ in: augmenting them would blur the comparison.
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(jitter=0.0))
    weights: tuple[tuple[str, float], ...] = (
        ("erm", 0.0),
        ("fishr", 1000.0),
        ("coral", 1.0),
        ("vrex", 10.0),
    )


DRIVING = DrivingConfig()
_rendered = cache(rendered)


def train(method: str, weight: float, left_out: str, seed: int) -> dict[str, Any]:
    """mIoU on the domain left out and on the domains trained on (other streets)."""
    names = [name for name in DRIVING.domains if name != left_out]
    domains: list[Labelled] = [_rendered(name) for name in names]
    torch.manual_seed(seed)
    network = SegmentationNetwork(DRIVING.network).to(memory_format=torch.channels_last)
    shape = (len(domains), network.config.classes, network.config.decoder)
    penalty = {"coral": coral, "vrex": vrex}.get(method) or Fishr(*shape, DRIVING.ema)
    module = GeneralizedSegmentation(network, penalty, weight)

    def make_batch(rng: np.random.Generator) -> Batch:
        return domain_batch(domains, DRIVING.per_domain, DRIVING.pixels, rng, DRIVING.augmentation)

    loop = LoopConfig(
        DRIVING.steps, seed, DRIVING.learning_rate, warm_up=20, checkpoint_every=DRIVING.steps
    )
    with tempfile.TemporaryDirectory() as folder:
        last = fit_annealed(module, make_batch, loop, DRIVING.anneal_steps, Path(folder))
    seen = [mean_iou(score(network, _rendered(name, test=True))) for name in names]
    return {
        "mIoU": mean_iou(score(network, _rendered(left_out, test=True))),
        "mIoU_seen": float(np.mean(seen)),
        "penalty": last["penalty"],
    }


def driving(seeds: list[int]) -> dict[str, Any]:
    """Every method with every domain left out; means over domains, and paired with ERM."""
    finished = Finished("fishr-driving", (DRIVING, RENDERS))
    figures: dict[str, Any] = {}
    means: dict[str, list[float]] = {}
    for method, weight in DRIVING.weights:
        runs = {}
        for left_out in DRIVING.domains:
            for seed in seeds:
                key = {"method": method, "left_out": left_out, "seed": seed}
                runs[left_out, seed] = finished.get(
                    key, lambda m=method, w=weight, d=left_out, s=seed: train(m, w, d, s)
                )
        means[method], seen = (
            [float(np.mean([runs[d, seed][name] for d in DRIVING.domains])) for seed in seeds]
            for name in ("mIoU", "mIoU_seen")
        )
        figures[method] = {
            "weight": weight,
            "mIoU_left_out": interval(means[method]),
            "mIoU_seen": interval(seen),
            "by_domain": {
                d: interval([runs[d, seed]["mIoU"] for seed in seeds]) for d in DRIVING.domains
            },
        }
        gains = [a - b for a, b in zip(means[method], means["erm"])]
        figures[method]["gain_over_erm"] = interval(gains)
    return figures
