"""Real traffic: trained on the world and two Argoverse 2 logs, tested on the third, all three ways.

Beside every physics model on the same windows: vehicles and two-wheelers that move. Base and CAB
have the same network, data, rate and steps. Differences are paired over the same forecasts, with
bootstrap intervals over agents. Also how the shipped recipe, which learns from the world alone,
does on the logs when it is trained for longer. ROS_XAI_DATA names the folder that holds av2/.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.forecasting_runs import (
    Scored,
    best_physics,
    context_share,
    hashed,
    load_scores,
    paired_interval,
    physics_scores,
    save_scores,
    scores_of,
    share_interval,
    side_by_side,
    simulated_traffic,
)
from benchmarks.seeded import STATE, Finished, interval
from ros_xai.data import argoverse2
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.evaluation import Scores
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import Windows, concatenate, windows
from ros_xai.training.forecasting import TrainingConfig, new_network, train
from ros_xai.training.shipped_forecasting import STREETS, ShippedConfig, training_windows
from ros_xai.world.dataset import WORLD_VERSION

NAME = "forecasting_av2"
LOGS = ("3b3570b4", "7fab2350", "adcf7d18")
ARMS = ("base", "cab")
LONGER = (500, 1000)  # steps on the world, beside those of the shipped weights


@dataclass(frozen=True)
class Setting:
    """The world's part, as much as the shipped weights have learned from; then fine-tuning on as
    many windows of the world as of the logs."""

    world: ShippedConfig = field(default_factory=ShippedConfig)
    log_steps: int = 300
    log_rate: float = 1e-3

    @property
    def logs(self) -> TrainingConfig:
        """The world's training, shorter and slower, without its annealing."""
        return replace(
            self.world.training,
            steps=self.log_steps,
            learning_rate=self.log_rate,
            warm_up=self.log_steps // 8,
            clip_centre=1e-3,
            kl_centre=1e-3,
        )


FULL = Setting()
QUICK = Setting(
    world=ShippedConfig(
        recordings=1, windows_per_recording=300, training=TrainingConfig(steps=40, warm_up=5)
    ),
    log_steps=20,
)


@lru_cache(maxsize=1)
def world_windows(setting: Setting) -> Windows:
    """The shipped weights' kind of data."""
    world = setting.world
    folder = simulated_traffic(world.recordings, STREETS, world.seconds)
    return training_windows(folder, world, np.random.default_rng(0))


@lru_cache(maxsize=1)
def log_windows() -> dict[str, tuple[Windows, Scored]]:
    """Of each log the windows to train on, from every tenth of a second, and those to test on."""
    folder = Path(os.environ["ROS_XAI_DATA"]) / "av2"
    found = {}
    for start in LOGS:
        recording = argoverse2.read_log(next(folder.glob(f"{start}*")))
        raster = rasterize(recording.map)
        phases = [windows(recording, raster, ContextConfig(), first) for first in range(5)]
        training = concatenate(phases)
        found[start] = training[training.scored], (phases[0], raster)
    return found


def run(arm: str, seed: int, quick: bool) -> dict[str, Any]:
    """Train on the world, then for each log a copy on the two others; figures of every log."""
    setting = QUICK if quick else FULL
    folder = run_folder(arm, seed, quick)
    world = world_windows(setting)
    trained = new_network(setting.world.network, seed)
    train(trained, world, arm, setting.world.training, seed, folder / "world", show=False)
    rng = np.random.default_rng(seed)
    figures = {}
    for test in LOGS:
        real = concatenate([w for log, (w, _) in log_windows().items() if log != test])
        as_many = world[rng.permutation(len(world))[: len(real)]]
        network = copy.deepcopy(trained)
        mixed = concatenate([real, as_many])
        train(network, mixed, arm, setting.logs, seed, folder / test, show=False)
        scores, attributions = scores_of(network, [log_windows()[test][1]])
        save_scores(folder / f"{test}.npz", scores, attributions)
        share = {"context share": context_share(attributions)}
        summary = {**evaluation.summary(scores), **share}
        figures[test] = {name: round(value, 4) for name, value in summary.items()}
    return {"logs": figures}


def run_longer(steps: int, quick: bool) -> dict[str, Any]:
    """FDE on every log of the shipped recipe with so many steps on the world, none on the logs."""
    setting = QUICK if quick else FULL
    world = setting.world
    training = replace(world.training, steps=steps)
    network = new_network(world.network, 0)
    folder = run_folder("longer", steps, quick)
    train(network, world_windows(setting), world.objective, training, 0, folder, show=False)
    scores = {log: scores_of(network, [log_windows()[log][1]])[0] for log in LOGS}
    return {"FDE": {log: round(float(each.fde.mean()), 4) for log, each in scores.items()}}


def run_folder(arm: str, seed: int, quick: bool) -> Path:
    return STATE / NAME / hashed(QUICK if quick else FULL, STREETS) / f"{arm}-{seed}"


def over_seeds(runs: list[dict[str, Any]], log: str) -> dict[str, Any]:
    """Mean and interval of every figure of an arm on a log."""
    names = runs[0]["logs"][log]
    return {name: interval([run["logs"][log][name] for run in runs]) for name in names}


def differences(
    physics: dict[str, dict[str, Scores]], logs: tuple[str, ...], seeds: int, quick: bool
) -> dict[str, dict[str, float]]:
    """FDE of CAB less base, and of both less each log's best physics model, with CAB's gain in
    context share; means over seeds, intervals over the agents of the logs together."""
    rng = np.random.default_rng(0)
    fde, shares = {}, {}
    for arm in ARMS:
        loaded = [
            [load_scores(run_folder(arm, seed, quick) / f"{log}.npz") for log in logs]
            for seed in range(seeds)
        ]
        fde[arm] = np.mean([np.concatenate([s.fde for s, _ in run]) for run in loaded], axis=0)
        shares[arm] = [np.concatenate([a for _, a in run]) for run in loaded]
    best = [physics[log][best_physics(physics[log])] for log in logs]
    agent = np.concatenate([scores.agent for scores in best])
    unlearned = np.concatenate([scores.fde for scores in best])
    return {
        "cab less base": paired_interval(fde["cab"] - fde["base"], agent, rng),
        **{
            f"{arm} less physics": paired_interval(fde[arm] - unlearned, agent, rng) for arm in ARMS
        },
        "context share, cab less base": share_interval(shares["cab"], shares["base"], agent, rng),
    }


def main(argv: list[str]) -> None:
    """Prints one JSON line per training and writes docs/results/forecasting_av2.json."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, a core each")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args(argv)
    if "ROS_XAI_DATA" not in os.environ:
        parser.error("ROS_XAI_DATA must name the folder that holds av2/ with the logs")
    quick, seeds = arguments.quick, 1 if arguments.quick else arguments.seeds
    setting = QUICK if quick else FULL

    finished = Finished(NAME, (WORLD_VERSION, setting, STREETS))
    keys = [{"arm": a, "seed": seed, "quick": quick} for seed in range(seeds) for a in ARMS]
    runs = side_by_side(finished, keys, run, arguments.jobs)
    lengths = [{"steps": n, "quick": quick} for n in ((60,) if quick else LONGER)]
    longer = side_by_side(finished, lengths, run_longer, arguments.jobs)
    physics = {log: physics_scores([log_windows()[log][1]]) for log in LOGS}
    shipped = Forecaster.load().network  # has seen no log
    figures: dict[str, Any] = {}
    for log in LOGS:
        figures[log] = {
            "physics": {name: evaluation.summary(each) for name, each in physics[log].items()},
            "best physics": best_physics(physics[log]),
            "shipped": evaluation.summary(scores_of(shipped, [log_windows()[log][1]])[0]),
            "shipped recipe, FDE by more steps": {
                str(each["steps"]): each["FDE"][log] for each in longer
            },
            "forecasts": len(next(iter(physics[log].values())).fde),
            **{a: over_seeds([r for r in runs if r["arm"] == a], log) for a in ARMS},
            "FDE": differences(physics, (log,), seeds, quick),
        }
        print(json.dumps({"log": log, "FDE": figures[log]["FDE"]}))
    figures["all logs: FDE"] = differences(physics, LOGS, seeds, quick)
    print(json.dumps(figures["all logs: FDE"]))
    if not quick:
        command = f"ros_xai bench forecasting-av2 --seeds {seeds}"
        results.write(NAME, command, figures, seeds=seeds, setting=asdict(setting))


if __name__ == "__main__":
    main(sys.argv[1:])
