"""Four beams on a real drive: the shipped network, its adaptation, and what it must beat.

`ros_xai bench depth-kitti` needs the KITTI clip ($ROS_XAI_DATA/kitti, rings 56,40,24,8 of 64).
Frames 0-47 are for self-supervised training, 48-59 for scoring, un-scaled, at full resolution,
against all 64 beams: "all" pixels, "unseen" ones that no input beam hit, "away" ones more than
8 px from any, by range, and for moving and static parts. Every trained arm takes the same steps
of the same batches; those with the shipped architecture start from the shipped weights.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from benchmarks import results
from benchmarks.seeded import STATE, Finished, interval
from ros_xai.data.depth import DepthSample, KittiDrive, Loaded
from ros_xai.data.kitti import EVAL_FRAMES, RINGS, TRAIN_FRAMES, KittiClip
from ros_xai.depth import fill
from ros_xai.depth.deployed import make_engine
from ros_xai.depth.estimator import (
    DepthEstimator,
    load_card,
    load_network,
    network_size,
)
from ros_xai.depth.evaluation import MAX_DEPTH, MIN_DEPTH, Estimate, evaluate
from ros_xai.depth.metrics import depth_metrics, mean_metrics, median_scale
from ros_xai.depth.pose import estimate_motion
from ros_xai.depth.static import static_mask
from ros_xai.training.adaptation import AdaptationConfig, adapt
from ros_xai.training.depth import DepthLearner, DepthRecipe, Objective
from ros_xai.training.depth_arms import ARMS, SMALL_POSE
from ros_xai.training.depth_batches import Augmentation, Beams, TripletBatches
from ros_xai.training.loop import LoopConfig, fit
from ros_xai.training.motions import Motions, cached_motions

GAP = 3  # frames: the ego is slow
OURS = "lidartouch_adapted"
FILLS = {
    "fill_nearest": fill.nearest,
    "fill_linear": fill.linear,
    "fill_columns": fill.interpolate_columns,
    "fill_ip_basic": fill.ip_basic,
}
# From nothing on this clip, as their papers have them.
FROM_NOTHING = ("posenet", "input_only", "naive_lidar", "lidartouch")
# From the shipped weights, with other losses than ours.
FROM_SHIPPED = {
    "naive_lidar_adapted": Objective(photometric=0.0, scales=2),
    "pnp_without_lidar_adapted": Objective(lidar=0.0, scales=2),
    "paper_losses_adapted": Objective(scales=2),
}


TRAINED = (OURS, *FROM_SHIPPED, *FROM_NOTHING)


@dataclass(frozen=True)
class Budget:
    """Steps of every arm, about 15 minutes of one core for all seeds."""

    steps: int = 120
    batch: int = 4
    learning_rate: float = 2e-4
    from_nothing_rate: float = 1e-3
    crop: tuple[int, int] = (128, 416)


def main(argv: list[str]) -> None:
    """Entry of `ros_xai bench depth-kitti`."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    app(argv, standalone_mode=False)


def run(seeds: int = 3, quick: bool = False, arms: str = ",".join(TRAINED)) -> None:
    """Score fills and networks (those not yet finished); write docs/results/depth_kitti.json."""
    torch.set_num_threads(1)
    data = os.environ.get("ROS_XAI_DATA")
    if not data:
        raise typer.BadParameter("ROS_XAI_DATA must name the folder of real driving data")
    bench = _Bench(KittiClip(Path(data) / "kitti"), Budget(steps=2) if quick else Budget())
    name = "depth_kitti_quick" if quick else "depth_kitti"
    finished = Finished(name, (bench.budget, load_card()))
    rows = [
        finished.get({"arm": arm, "seed": 0}, lambda e=estimate: bench.scores(e))
        for arm, estimate in bench.without_training().items()
    ]
    for seed in range(seeds):
        folder = STATE / name
        trainings: dict[str, Callable[[], Estimate]] = {
            OURS: lambda s=seed, f=folder: bench.adapted(s, f),
            **{a: lambda a=a, s=seed, f=folder: bench.shipped(a, s, f) for a in FROM_SHIPPED},
            **{a: lambda a=a, s=seed, f=folder: bench.scratch(a, s, f) for a in FROM_NOTHING},
        }
        for arm in arms.split(","):
            key, train = {"arm": arm, "seed": seed}, trainings[arm]
            rows.append(
                finished.get(
                    key, lambda a=arm, t=train: bench.scores(t(), a in ARMS and ARMS[a].scaled)
                )
            )
        if not quick:  # after every seed: what there is can be read
            results.write(
                name,
                "ros_xai bench depth-kitti",
                summary(rows),
                seeds=seed + 1,
                budget=repr(bench.budget),
                rings=list(RINGS),
                frames={"train": "0-47", "score": "48-59"},
            )


class _Bench:
    """The clip, its motions, and the ways to get an estimator."""

    def __init__(self, clip: KittiClip, budget: Budget) -> None:
        self.budget = budget
        self.drive = KittiDrive(clip, TRAIN_FRAMES)
        drive = KittiDrive(clip, EVAL_FRAMES)
        self.samples = Loaded.of(drive).samples
        self.moving = moving_parts(KittiDrive(clip, range(len(clip))), EVAL_FRAMES)

    def without_training(self) -> dict[str, Estimate]:
        fills: dict[str, Estimate] = {
            name: (lambda image, sparse, K, f=complete: f(sparse))
            for name, complete in FILLS.items()
        }
        return fills | {"shipped": DepthEstimator.load()}

    def adapted(self, seed: int, folder: Path) -> Estimate:
        network = load_network()
        config = AdaptationConfig(
            steps=self.budget.steps, batch=self.budget.batch, seed=seed,
            learning_rate=self.budget.learning_rate, evaluate_every=25,
        )  # fmt: skip
        run = folder / f"{OURS}_{seed}"
        self._training_data(folder / "motions")
        shutil.copytree(folder / "motions", run / "motions", dirs_exist_ok=True)
        adapt(network, load_card(), self.drive, RINGS, run, config, show=False)
        shutil.rmtree(run)
        return DepthEstimator(make_engine(network, "torch"))

    def shipped(self, arm: str, seed: int, folder: Path) -> Estimate:
        recipe = DepthRecipe(load_card(), FROM_SHIPPED[arm])
        learner = DepthLearner(recipe, frozen_statistics=True)
        learner.network.load_state_dict(load_network().state_dict())
        beams = Beams(drop_returns=0.3, drop_beam=0.5)
        return self._fit(learner, beams, self.budget.learning_rate, seed, folder / f"{arm}_{seed}")

    def scratch(self, arm: str, seed: int, folder: Path) -> Estimate:
        torch.manual_seed(seed)
        recipe = replace(ARMS[arm].recipe, pose=SMALL_POSE)
        learner = DepthLearner(replace(recipe, objective=replace(recipe.objective, scales=2)))
        rate = self.budget.from_nothing_rate
        return self._fit(learner, ARMS[arm].beams, rate, seed, folder / f"{arm}_{seed}")

    def _fit(
        self, learner: DepthLearner, beams: Beams, rate: float, seed: int, folder: Path
    ) -> Estimate:
        small, motions = self._training_data(folder.parent / "motions")
        crop = Augmentation(*self.budget.crop, scale=(0.75, 1.0))
        batches = TripletBatches([small], [motions], self.budget.batch, crop, beams)
        loop = LoopConfig(self.budget.steps, seed, rate, warm_up=10, checkpoint_every=50)
        fit(learner, batches, loop, folder, show=False)
        shutil.rmtree(folder)
        return DepthEstimator(make_engine(learner.network.eval(), "torch"))

    def _training_data(self, folder: Path) -> tuple[Loaded, Motions]:
        first = self.drive[0]
        size = network_size(*first.image.shape[:2], first.intrinsics)
        motions = cached_motions(self.drive, GAP, RINGS, folder)
        return Loaded.resized(self.drive, size), motions.resized(*size)

    def scores(self, estimate: Estimate, scaled: bool = False) -> dict[str, Any]:
        """Un-scaled by group of pixels; with ``scaled`` also after the true median is given."""
        found: dict[str, Any] = {"scores": evaluate(estimate, self.samples, RINGS)}
        parts: dict[str, list[dict[str, float]]] = {"moving": [], "static": []}
        medians = []
        for sample, moving in zip(self.samples, self.moving):
            truth = sample.sparse_depth()
            depth = estimate(sample.image, sample.sparse_depth(RINGS), sample.intrinsics)
            for name, mask in (("moving", moving), ("static", ~moving)):
                truth_there = np.where(mask, truth, 0)
                parts[name].append(depth_metrics(depth, truth_there, MIN_DEPTH, MAX_DEPTH))
            medians.append(depth_metrics(depth * median_scale(depth, truth), truth))
        found["scores"] |= {name: mean_metrics(values) for name, values in parts.items()}
        if scaled:
            found["median_scaled"] = {"all": mean_metrics(medians)}
        return found


def moving_parts(drive: KittiDrive, frames: range) -> list[np.ndarray]:
    """Pixels [H, W] of each frame that contradict the ego motion (from all 64 beams)."""
    masks = []
    for frame in frames:
        target: DepthSample = drive[frame]
        source = drive[frame - GAP]
        pair = (target.image, source.image, target.points, target.intrinsics)
        motion = estimate_motion(*pair)
        masks.append(~static_mask(*pair, motion.T_source_target))
    return masks


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Per arm and group the mean over seeds with its interval, and the claims."""
    table: dict[str, Any] = {}
    for kind in ("scores", "median_scaled"):
        for arm in dict.fromkeys(row["arm"] for row in rows if kind in row):
            runs = [row[kind] for row in rows if row["arm"] == arm]
            label = arm if kind == "scores" else f"{arm}_median_scaled"
            table[label] = {
                group: {
                    m: interval([r[group][m] for r in runs])
                    for m, first in runs[0][group].items()
                    if np.isfinite(first)
                }
                for group in runs[0]
            }

    def of(name: str, group: str, metric: str) -> float:
        return float(table[name][group][metric]["mean"])

    if OURS not in table:
        return {"arms": table}
    best_away = min(of(name, "away", "rmse") for name in FILLS)
    trained = [arm for arm in (*FROM_SHIPPED, *FROM_NOTHING) if arm in table]
    away = of(OURS, "away", "rmse")
    return {
        "arms": table,
        "gain_over_best_fill_away_rmse": round(1 - away / best_away, 4),
        "claims": {
            "rmse away from beams 15 % below the best fill": away <= 0.85 * best_away,
            "rmse away from beams below every trained baseline": away
            < min((of(name, "away", "rmse") for name in trained), default=float("nan")),
            "abs_rel below the best fill": of(OURS, "unseen", "abs_rel")
            < min(of(name, "unseen", "abs_rel") for name in FILLS),
            "abs_rel at most 0.10": of(OURS, "unseen", "abs_rel") <= 0.10,
        },
    }


if __name__ == "__main__":
    main(sys.argv[1:])
