"""LiDARTouch and its baselines on rendered worlds: every arm from nothing, the same steps, seeds.

`ros_xai bench depth-world` trains each arm of ros_xai/training/depth_arms.py on rendered drives
(96x320) and scores it un-scaled on other drives at 192x640 against exact depth. The budget is
small on purpose, about 20 minutes of one core a seed: it shows the order of the arms, not their
best.
"""

from __future__ import annotations

import json
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
from ros_xai.data.depth import DepthSample, Drive, world_drives
from ros_xai.data.kitti import RINGS
from ros_xai.depth import fill
from ros_xai.depth.deployed import make_engine
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.depth.evaluation import Estimate, evaluate, score
from ros_xai.depth.metrics import mean_metrics, median_scale
from ros_xai.training.depth import DepthLearner
from ros_xai.training.depth_arms import ARMS, Arm
from ros_xai.training.depth_batches import Augmentation, TripletBatches
from ros_xai.training.loop import LoopConfig, fit
from ros_xai.training.motions import Motions, cached_motions
from ros_xai.world.dataset import DatasetConfig, default_folder, write_dataset

FILLS = {"fill_columns": fill.interpolate_columns, "fill_ip_basic": fill.ip_basic}
OURS = "lidartouch_prior"
COMPARED = [arm for arm in ARMS if arm != "lidartouch_completion"]


DRIVES = DatasetConfig(
    sequences=20, frames=12, width=640, height=192, seed=11, networks=("town", "grid")
)
HELD_OUT = replace(DRIVES, sequences=12, frames=4, stride=5, seed=12)


@dataclass(frozen=True)
class Budget:
    """Steps and data of every arm."""

    steps: int = 300
    batch: int = 4
    learning_rate: float = 1e-3
    size: tuple[int, int] = (96, 320)
    train: DatasetConfig = DRIVES
    test: DatasetConfig = HELD_OUT


QUICK = Budget(
    steps=4,
    train=replace(DRIVES, sequences=2, frames=4),
    test=replace(HELD_OUT, sequences=2, frames=2),
)


def main(argv: list[str]) -> None:
    """Entry of `ros_xai bench depth-world`."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    app(argv, standalone_mode=False)


def run(seeds: int = 3, quick: bool = False, arms: str = ",".join(COMPARED)) -> None:
    """Train the arms (those not yet finished) and write docs/results/depth_world.json."""
    torch.set_num_threads(1)
    budget = QUICK if quick else Budget()
    name = "depth_world_quick" if quick else "depth_world"
    finished = Finished(name, budget)
    train = world_drives(_dataset(budget.train))
    samples = [d[i] for d in world_drives(_dataset(budget.test)) for i in range(len(d))]
    rows: list[dict[str, Any]] = []
    for fill_name, complete in FILLS.items():
        estimate = _of_fill(complete)
        key = {"arm": fill_name, "seed": 0}
        rows.append(finished.get(key, lambda e=estimate: {"scores": evaluate(e, samples, RINGS)}))
    motions: list[Motions] = []
    for seed in range(seeds):
        for arm in arms.split(","):
            folder = STATE / name / f"{arm}_{seed}"

            def compute(arm: str = arm, seed: int = seed, folder: Path = folder) -> dict[str, Any]:
                if not motions:
                    motions.extend(
                        cached_motions(d, 1, RINGS, STATE / name / "motions") for d in train
                    )
                return _trained(ARMS[arm], seed, train, motions, samples, budget, folder)

            rows.append(finished.get({"arm": arm, "seed": seed}, compute))
        if not quick:  # after every seed: what there is can be read
            results.write(
                name,
                "ros_xai bench depth-world",
                summary(rows),
                seeds=seed + 1,
                budget=repr(budget),
                rings=list(RINGS),
                test_frames=len(samples),
                world_version=_version(budget.train),
            )


def _trained(
    arm: Arm,
    seed: int,
    drives: list[Drive],
    motions: list[Motions],
    samples: list[DepthSample],
    budget: Budget,
    folder: Path,
) -> dict[str, Any]:
    torch.manual_seed(seed)
    learner = DepthLearner(arm.recipe)
    batches = TripletBatches(drives, motions, budget.batch, Augmentation(*budget.size), arm.beams)
    loop = LoopConfig(budget.steps, seed, budget.learning_rate, warm_up=20, checkpoint_every=50)
    fit(learner, batches, loop, folder, show=False)
    pixels = budget.size[0] * budget.size[1]
    estimator = DepthEstimator(make_engine(learner.network.eval(), "torch"), max_pixels=pixels)
    found: dict[str, Any] = {"scores": evaluate(estimator, samples, RINGS)}
    if arm.scaled:
        found["median_scaled"] = _median_scaled(estimator, samples)
    shutil.rmtree(folder)
    return found


def _median_scaled(estimate: Estimate, samples: list[DepthSample]) -> dict[str, dict[str, float]]:
    """The scores when each prediction is first given the true median: more than an arm may know."""
    groups: dict[str, list[dict[str, float]]] = {}
    for sample in samples:
        sparse = sample.sparse_depth(RINGS)
        prediction = estimate(sample.image, sparse, sample.intrinsics)
        assert sample.depth is not None
        prediction = prediction * np.float32(median_scale(prediction, sample.depth))
        for name, values in score(prediction, sample, sparse).items():
            groups.setdefault(name, []).append(values)
    return {name: mean_metrics(values) for name, values in groups.items()}


def _of_fill(complete: Callable[[np.ndarray], np.ndarray]) -> Estimate:
    return lambda image, sparse, intrinsics: complete(sparse)


def _version(config: DatasetConfig) -> int:
    return int(json.loads((_dataset(config) / "index.json").read_text())["version"])


def _dataset(config: DatasetConfig) -> Path:
    return write_dataset(config, default_folder(config), jobs=1)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Per arm and group the mean over seeds with its interval, and the paper's claims."""
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
    return {"arms": table, "claims": {arm: _claims(table, arm) for arm in ("lidartouch", OURS)}}


def _claims(table: dict[str, Any], arm: str) -> dict[str, bool]:
    """What is claimed for LiDARTouch, true or not in these runs."""

    def of(name: str, group: str, metric: str) -> float:
        return float(table[name][group][metric]["mean"]) if name in table else float("nan")

    def best(others: list[str], group: str, metric: str) -> float:
        return min(of(name, group, metric) for name in others)

    absolute = of(arm, "all", "abs_rel")
    away = of(arm, "away", "rmse")
    holes = of(arm, "co_moving", "hole_rate")
    return {
        "abs_rel below pose-network arms and input-only": absolute
        < best(["posenet", "posenet_gps", "input_only"], "all", "abs_rel"),
        "abs_rel no worse than median-scaled camera-only": absolute
        <= of("posenet_median_scaled", "all", "abs_rel"),
        "rmse away from beams below naive LiDAR": away
        < best(["naive_lidar", "naive_lidar_prior"], "away", "rmse"),
        "rmse away from beams below both fills": away < best(list(FILLS), "away", "rmse"),
        "co-moving holes at least 3 times fewer than camera-only": 3 * holes
        <= of("posenet", "co_moving", "hole_rate"),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
