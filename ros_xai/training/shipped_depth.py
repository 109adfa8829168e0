"""The recipe of the shipped depth network: rendered worlds only, any few-beam sensor.

LiDARTouch's LiDAR and smoothness losses, with all 64 beams of the rendered sensor in the loss and a
few in the input, and the dense depth as a relative error. A rendered world knows its depth, so the
photometric term would cost twice the time for nothing; adaptation to a recorded drive, which knows
none, has it. The beams that the network sees change from sample to sample, down to none, so that
one network serves sensors it never met; colours and lenses change as much.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ros_xai.data.depth import Drive
from ros_xai.data.kitti import RINGS
from ros_xai.depth.network import SMALL
from ros_xai.training.checkpoint import digest, save_weights, write_atomic
from ros_xai.training.depth import DepthLearner, DepthRecipe, Objective
from ros_xai.training.depth_batches import Augmentation, Beams, TripletBatches
from ros_xai.training.distributed import Process
from ros_xai.training.loop import About, LoopConfig, Metrics, fit
from ros_xai.training.motions import Motions, cached_motions, no_motions


@dataclass(frozen=True)
class ShippedConfig:
    """What made the weights in ros_xai/weights/depth.safetensors."""

    recipe: DepthRecipe = field(
        default_factory=lambda: DepthRecipe(
            replace(SMALL, prior=True),
            Objective(photometric=0.0, smooth=0.001, dense_log=0.3, scales=2),
        )
    )
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(128, 384, (0.67, 1.2), rough=0.5)
    )
    beams: Beams = field(
        default_factory=lambda: Beams(
            RINGS, None, drop_returns=0.1, drop_beam=0.1, any_sensor=0.3, off=0.07
        )
    )
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(2400, learning_rate=1e-3, warm_up=100, final_rate=0.02)
    )
    batch: int = 4
    gap: int = 1


def train(
    drives: Sequence[Drive],
    folder: Path,
    config: ShippedConfig | None = None,
    process: Process = Process(),
    show: bool = True,
) -> tuple[DepthLearner, Metrics]:
    """Trains on rendered drives; checkpoints and motions in ``folder``; returns the last losses."""
    config = config or ShippedConfig()
    torch.manual_seed(config.loop.seed)
    learner = DepthLearner(config.recipe)
    motions = [_motions(drive, config, folder) for drive in drives]
    batches = TripletBatches(drives, motions, config.batch, config.augmentation, config.beams)
    about = _about(drives, config)
    return learner, fit(learner, batches, config.loop, folder, process, show=show, about=about)


def _about(drives: Sequence[Drive], config: ShippedConfig) -> About:
    ends = [drive[i].image for drive in drives for i in (0, len(drive) - 1)]
    recipe = {name: value for name, value in asdict(config).items() if name != "loop"}
    return {"drives": digest([len(drive) for drive in drives], *ends), **recipe}


def _motions(drive: Drive, config: ShippedConfig, folder: Path) -> Motions:
    if config.recipe.objective.photometric:
        return cached_motions(drive, config.gap, RINGS, folder / "motions")
    return no_motions(drive)


def save(learner: DepthLearner, path: Path, config: Any, **card: Any) -> None:
    """NAME.safetensors, and NAME.json with the network, its training and what ``card`` adds."""
    save_weights(path, learner.network)
    document = {"network": asdict(config.recipe.network), **card, "training": asdict(config)}
    write_atomic(path.with_suffix(".json"), (json.dumps(document, indent=1) + "\n").encode())
