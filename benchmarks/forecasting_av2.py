"""Real traffic: trained on the world and two Argoverse 2 logs, tested on the third, all three ways.

Beside every physics model on the same windows: vehicles and two-wheelers that move. Base and CAB
have the same network, data, rate and steps. ROS_XAI_DATA names the folder that holds av2/.
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
    context_share,
    physics_scores,
    scores_of,
    side_by_side,
    simulate_traffic,
)
from benchmarks.seeded import STATE, Finished, interval
from ros_xai.data import argoverse2
from ros_xai.data.forecasting import read_world, world_recordings
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.network import NetworkConfig
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import Windows, concatenate, windows, with_tracking_noise
from ros_xai.training.forecasting import TrainingConfig, new_network, train
from ros_xai.world.network import NETWORKS
from ros_xai.world.network import NetworkConfig as StreetConfig

NAME = "forecasting_av2"
FOLDER = STATE / NAME
LOGS = ("3b3570b4", "7fab2350", "adcf7d18")
ARMS = ("base", "cab")
# The world's towns, and the wide and the long streets of the logs' cities.
STREETS = [
    *NETWORKS.values(),
    StreetConfig(two_lane=1.0, block=200.0, curved=0.3, roundabouts=0),
    StreetConfig(columns=4, rows=3, two_lane=0.7, block=300.0, curved=0.4, roundabouts=0),
]
TEMPI = (1.0, 1.4)  # the world's 8 to 14 m/s, and the logs' up to 18


@dataclass(frozen=True)
class Setting:
    """The world's part, then the fine-tuning on as many windows of the world as of the logs."""

    networks: int = 28
    seconds: float = 40.0
    windows_per_network: int = 1200
    world: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=3000))
    logs: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=400, learning_rate=1e-3, warm_up=50, clip_centre=1e-3, kl_centre=1e-3
        )
    )


FULL = Setting()
QUICK = Setting(
    networks=2,
    windows_per_network=300,
    world=TrainingConfig(steps=40, warm_up=5),
    logs=TrainingConfig(steps=20, warm_up=5),
)


@lru_cache(maxsize=1)
def world_windows(setting: Setting) -> Windows:
    """A random draw from every network, half of them at a faster tempo."""
    rng = np.random.default_rng(0)
    drawn = []
    for k, path in enumerate(world_recordings(FOLDER / "traffic")[: setting.networks]):
        recording = read_world(path)
        tempo = TEMPI[k // len(STREETS) % len(TEMPI)]
        recording = with_tracking_noise(replace(recording, time=recording.time / tempo), rng)
        part = windows(recording, rasterize(recording.map), ContextConfig())
        chosen = rng.permutation(np.flatnonzero(part.scored))[: setting.windows_per_network]
        drawn.append(part[chosen])
    return concatenate(drawn)


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
    folder = FOLDER / "-".join([arm, str(seed)] + ["quick"] * quick)
    world = world_windows(setting)
    trained = new_network(NetworkConfig(), seed)
    train(trained, world, arm, setting.world, seed, folder / "world", show=False)
    rng = np.random.default_rng(seed)
    figures = {}
    for test in LOGS:
        real = concatenate([w for log, (w, _) in log_windows().items() if log != test])
        as_many = world[rng.permutation(len(world))[: len(real)]]
        network = copy.deepcopy(trained)
        mixed = concatenate([real, as_many])
        train(network, mixed, arm, setting.logs, seed, folder / test, show=False)
        scores, attributions = scores_of(network, [log_windows()[test][1]])
        share = {"context share": context_share(attributions)}
        summary = {**evaluation.summary(scores), **share}
        figures[test] = {name: round(value, 4) for name, value in summary.items()}
    return {"logs": figures}


def over_seeds(runs: list[dict[str, Any]], log: str) -> dict[str, Any]:
    """Mean and interval of every figure of an arm on a log."""
    names = runs[0]["logs"][log]
    return {name: interval([run["logs"][log][name] for run in runs]) for name in names}


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
    simulate_traffic(FOLDER / "traffic", setting.networks, STREETS, setting.seconds)

    finished = Finished(NAME, (setting, STREETS, TEMPI))
    keys = [{"arm": a, "seed": seed, "quick": quick} for seed in range(seeds) for a in ARMS]
    runs = side_by_side(finished, keys, run, arguments.jobs)
    figures = {}
    for log in LOGS:
        physics = physics_scores([log_windows()[log][1]])
        arms = {a: over_seeds([r for r in runs if r["arm"] == a], log) for a in ARMS}
        figures[log] = {
            "physics": {name: evaluation.summary(scores) for name, scores in physics.items()},
            **arms,
        }
        fde = {name: values["FDE"] for name, values in figures[log]["physics"].items()}
        fde |= {a: arms[a]["FDE"]["mean"] for a in ARMS}
        print(json.dumps({"log": log, "FDE": fde}))
    if not quick:
        command = f"ros_xai bench forecasting-av2 --seeds {seeds}"
        results.write(NAME, command, figures, seeds=seeds, setting=asdict(setting))


if __name__ == "__main__":
    main(sys.argv[1:])
