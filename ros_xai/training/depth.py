"""Training of depth networks: LiDARTouch's losses and the arms it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.depth.losses import (
    lidar_inverse_depth_l1,
    log_depth_l1,
    masked_mean,
    minimum_reprojection,
    photometric_error,
    smoothness,
    velocity_loss,
)
from ros_xai.depth.network import NetworkConfig, build
from ros_xai.depth.pose_network import PoseNetwork
from ros_xai.depth.warp import warp
from ros_xai.training.loop import Batch


@dataclass(frozen=True)
class Objective:
    """Weights of the losses; the defaults are LiDARTouch. 0 leaves a term out.

    ``pose``: whose motion the photometric term uses. ``velocity``: GPS/IMU scale for a learned
    pose. ``dense`` and ``dense_log``: L1 of inverse and of logarithmic depth on dense truth.
    ``only_static``: leave out what contradicts the ego motion or lands outside the source (not
    the paper's).
    """

    pose: Literal["pnp", "network"] = "pnp"
    photometric: float = 1.0
    smooth: float = 0.01
    lidar: float = 1.0
    velocity: float = 0.0
    dense: float = 0.0
    dense_log: float = 0.0
    only_static: bool = False
    scales: int = 4


@dataclass(frozen=True)
class PoseConfig:
    """Widths of the pose network."""

    widths: tuple[int, ...] = (64, 64, 128, 256, 512)
    blocks: int = 2
    hidden: int = 256


@dataclass(frozen=True)
class DepthRecipe:
    """A network and what it learns from."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    objective: Objective = field(default_factory=Objective)
    pose: PoseConfig = field(default_factory=PoseConfig)


class DepthLearner(nn.Module):
    """Depth network with its losses: forward maps a batch (depth_batches.py) to named losses.

    ``frozen_statistics`` keeps the batch norms as they are, for a short drive's batches are too
    much alike to measure them.
    """

    def __init__(self, recipe: DepthRecipe, frozen_statistics: bool = False) -> None:
        super().__init__()
        self.objective = recipe.objective
        self.frozen_statistics = frozen_statistics
        self.network = build(recipe.network)
        self.pose: PoseNetwork | None = None
        if recipe.objective.photometric and recipe.objective.pose == "network":
            self.pose = PoseNetwork(recipe.pose.widths, recipe.pose.blocks, recipe.pose.hidden)

    def train(self, mode: bool = True) -> DepthLearner:
        super().train(mode)
        if self.frozen_statistics:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        weights = self.objective
        disparities = self.network(batch["image"], batch["geometry"])[: weights.scales]
        size = batch["target"].shape[-2:]
        # Metric, at full size: losses at coarse size would not see the thin structures.
        full = [
            F.interpolate(d, size=size, mode="nearest") / batch["scale"].view(-1, 1, 1, 1)
            for d in disparities
        ]
        terms: dict[str, Tensor] = {}
        if weights.photometric:
            T, usable = self._motions(batch)
            mean = _mean([self._photometric(1 / d, T, usable, batch) for d in full])
            terms["photometric"] = weights.photometric * mean
            if weights.velocity:
                speed = velocity_loss(T[:, :, :3, 3], batch["travelled"])
                terms["velocity"] = weights.velocity * speed
        if weights.smooth:
            by_scale = [smoothness(d, batch["target"]) / 2**i for i, d in enumerate(full)]
            terms["smooth"] = weights.smooth * _mean(by_scale)
        for name, loss, truth in (
            ("lidar", lidar_inverse_depth_l1, batch["sparse"]),
            ("dense", lidar_inverse_depth_l1, batch["depth"]),
            ("dense_log", log_depth_l1, batch["depth"]),
        ):
            weight = getattr(weights, name)
            if weight:
                terms[name] = weight * _mean([loss(1 / d, truth) for d in full])
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def _motions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """T_source_target [B, S, 4, 4] and whether each may be used [B, S]."""
        if self.pose is None:
            return batch["T"], batch["usable"]
        pairs = [self.pose(batch["target"], s) for s in batch["sources"].unbind(1)]
        return torch.stack(pairs, dim=1), torch.ones_like(batch["usable"])

    def _photometric(self, depth: Tensor, T: Tensor, usable: Tensor, batch: Batch) -> Tensor:
        """Mean over the kept pixels of the least error among the usable sources."""
        target, errors, identities = batch["target"], [], []
        for i, source in enumerate(batch["sources"].unbind(1)):
            warped, visible = warp(source, depth, T[:, i], batch["intrinsics"])
            refused = ~usable[:, i].view(-1, 1, 1, 1)
            if self.objective.only_static:
                refused = refused | ~visible | ~batch["static"][:, i]
            # A refused source loses to standing still, so it explains nothing.
            errors.append(photometric_error(warped, target).masked_fill(refused, REFUSED))
            identities.append(photometric_error(source, target))
        error, kept = minimum_reprojection(torch.stack(errors), torch.stack(identities))
        # Where LiDAR supervises, it alone does (LiDARTouch's masked photometric loss).
        return masked_mean(error, kept & (batch["sparse"] <= 0))


REFUSED = 1e3


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()
