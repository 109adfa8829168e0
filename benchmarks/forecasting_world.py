"""Does CAB make a forecaster use its context? Long streets where the context rarely matters.

Most agents drive on as they did; only at T-junctions, curves and behind others does the map or a
neighbour tell the future. First the premise: without context the base network forecasts about as
well as with it. Then every objective with the same network, data, clamps, rate and steps; base and
CAB also once with states that leak the future through central differences, as a control.
Differences are paired over the same forecasts, with bootstrap intervals over agents.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.forecasting_runs import (
    Scored,
    context_share,
    load_scores,
    paired_interval,
    physics_scores,
    save_scores,
    scores_of,
    side_by_side,
    simulate_traffic,
)
from benchmarks.seeded import STATE, Finished, interval
from ros_xai.data.forecasting import (
    HISTORY,
    STEP,
    Scene,
    read_world,
    world_recordings,
)
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.evaluation import RADII
from ros_xai.forecasting.features import ContextConfig, extrapolated_past, track_states
from ros_xai.forecasting.metrics import hardest
from ros_xai.forecasting.network import NetworkConfig
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import (
    Windows,
    causal,
    concatenate,
    windows,
    with_tracking_noise,
)
from ros_xai.training.forecasting import OBJECTIVES, TrainingConfig, new_network, train
from ros_xai.world.network import NetworkConfig as StreetConfig

NAME = "forecasting_world"
FOLDER = STATE / NAME
LEAKED = ("base", "cab")  # arms of the control
STREETS = StreetConfig(
    columns=4, rows=3, block=400.0, removed=0.25, curved=0.15, bend=0.1, roundabouts=0, lights=0.0
)


@dataclass(frozen=True)
class Setting:
    """How much is simulated, drawn from it and trained. Test networks come after the training's."""

    train_networks: int = 20
    test_networks: int = 4
    seconds: float = 40.0
    windows_per_network: int = 1500
    test_agents: int = 60
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=3000))


FULL = Setting()
QUICK = Setting(
    train_networks=2,
    test_networks=1,
    windows_per_network=300,
    test_agents=10,
    training=TrainingConfig(steps=40, warm_up=5),
)


def leaked(scene: Scene) -> NDArray[np.float64]:
    """States by central differences over the whole track, as in CAB's public code: a velocity
    knows one step of the future, an acceleration two. Unknown futures go on straight."""
    states = track_states(scene.tracks)
    past = states[..., :2]
    backwards = np.concatenate([past, scene.future[:, :2]], axis=1)[:, ::-1]
    track = extrapolated_past(backwards, np.zeros(backwards.shape[:2]))[0][:, ::-1]
    velocity = np.gradient(track, STEP, axis=1)
    acceleration = np.gradient(velocity, STEP, axis=1)
    leaks = [each[:, :HISTORY] for each in (velocity, acceleration)]
    return np.concatenate([past, *leaks, states[..., 6:]], axis=-1)


@lru_cache(maxsize=2)
def data(setting: Setting, leak: bool) -> tuple[Windows, list[Scored]]:
    """Training windows, a random draw from each network; all windows of some agents for tests."""
    rng = np.random.default_rng(0)
    training, tests = [], []
    for k, path in enumerate(world_recordings(FOLDER / "traffic")[: networks(setting)]):
        recording = with_tracking_noise(read_world(path), rng)
        raster = rasterize(recording.map)
        states = leaked if leak else causal
        all_of_it = windows(recording, raster, ContextConfig(), states_of=states)
        if k < setting.train_networks:
            drawn = rng.permutation(np.flatnonzero(all_of_it.scored))
            training.append(all_of_it[drawn[: setting.windows_per_network]])
        else:
            agents = rng.permutation(np.unique(all_of_it.agent))[: setting.test_agents]
            tests.append((all_of_it[np.isin(all_of_it.agent, agents)], raster))
    return concatenate(training), tests


def networks(setting: Setting) -> int:
    return setting.train_networks + setting.test_networks


def run(arm: str, seed: int, leak: bool, quick: bool) -> dict[str, Any]:
    """Train one arm and score it; the scores of its forecasts are kept beside its checkpoint."""
    setting = QUICK if quick else FULL
    training, tests = data(setting, leak)
    folder = run_folder(arm, seed, leak, quick)
    network = new_network(NetworkConfig(), seed)
    train(network, training, arm, setting.training, seed, folder, show=False)
    scores, attributions = scores_of(network, tests, blind=arm == "no-context")
    save_scores(folder / "scores.npz", scores)
    figures = {**evaluation.summary(scores), "context share": context_share(attributions)}
    return {name: round(value, 4) for name, value in figures.items()}


def run_folder(arm: str, seed: int, leak: bool, quick: bool) -> Path:
    parts = [arm, str(seed)] + ["leaked"] * leak + ["quick"] * quick
    return FOLDER / "-".join(parts)


def differences(arm: str, other: str, seeds: int, quick: bool) -> dict[str, Any]:
    """Arm less other, mean over seeds per forecast, with intervals over agents."""
    rng = np.random.default_rng(0)
    ours, theirs = (
        [load_scores(run_folder(a, seed, False, quick) / "scores.npz") for seed in range(seeds)]
        for a in (arm, other)
    )
    agent, point_agent = ours[0].agent, ours[0].point_agent

    def gap(name: str) -> NDArray[np.float64]:
        return np.mean([getattr(a, name) - getattr(b, name) for a, b in zip(ours, theirs)], axis=0)

    intervals = {"FDE": paired_interval(gap("fde"), agent, rng)}
    for percent in (1, 2, 3):
        hard = hardest(ours[0].difficulty, percent)
        paired = paired_interval(gap("fde")[hard], agent[hard], rng)
        intervals[f"FDE hardest {percent} %"] = paired
    intervals["off-road"] = paired_interval(gap("off_road"), agent, rng)
    intervals["D"] = paired_interval(gap("dispersion"), point_agent, rng)
    for radius, steps in zip(RADII, gap("convergence").T):
        intervals[f"C({radius:g} m)"] = paired_interval(steps * STEP, point_agent, rng)
    return intervals


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and interval of every figure of an arm."""
    names = [name for name, value in runs[0].items() if isinstance(value, float)]
    return {name: interval([run[name] for run in runs]) for name in names}


def main(argv: list[str]) -> None:
    """Prints one JSON line per training and writes docs/results/forecasting_world.json."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, a core each")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args(argv)
    quick, seeds = arguments.quick, 1 if arguments.quick else arguments.seeds
    setting = QUICK if quick else FULL
    simulate_traffic(FOLDER / "traffic", networks(setting), [STREETS], setting.seconds)

    finished = Finished(NAME, (setting, STREETS))
    keys = [
        {"arm": arm, "seed": seed, "leak": False, "quick": quick}
        for seed in range(seeds)
        for arm in OBJECTIVES
    ]
    keys += [{"arm": arm, "seed": 0, "leak": True, "quick": quick} for arm in LEAKED]
    runs = side_by_side(finished, keys, run, arguments.jobs)
    honest = [r for r in runs if not r["leak"]]
    figures = {
        "physics": {
            name: evaluation.summary(scores)
            for name, scores in physics_scores(data(setting, leak=False)[1]).items()
        },
        "arms": {a: over_seeds([r for r in honest if r["arm"] == a]) for a in OBJECTIVES},
        "premise: no-context less base": differences("no-context", "base", seeds, quick),
        "claim: cab less base": differences("cab", "base", seeds, quick),
        "regulariser alone: blind-loss less base": differences("blind-loss", "base", seeds, quick),
        "control with leaked states": [r for r in runs if r["leak"]],
    }
    print(json.dumps({name: figures[name] for name in figures if "less" in name}))
    if not quick:
        command = f"ros_xai bench forecasting-world --seeds {seeds}"
        results.write(NAME, command, figures, seeds=seeds, setting=asdict(setting))


if __name__ == "__main__":
    main(sys.argv[1:])
