"""Does CAB make a forecaster use its context? Long streets where the context rarely matters.

Most agents drive on as they did; only at T-junctions, curves and behind others does the map or a
neighbour tell the future. First the premise: without context the base network forecasts about as
well as with it. Then every objective with the same network, data, clamps, rate and steps; base and
CAB also once with states that leak the future through central differences, as a control.
CAB's weight of the divergence is the one of least FDE on networks kept back from the training.
Differences are paired over the same forecasts, with bootstrap intervals over agents.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.forecasting_runs import (
    Scored,
    context_share,
    divergences,
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
from ros_xai.world.dataset import WORLD_VERSION
from ros_xai.world.network import NetworkConfig as StreetConfig

NAME = "forecasting_world"
DIVERGENCES = (0.5, 2.0, 5.0)  # candidates for lambda_KL; the paper's, for 25 modes, is 5
LEAKED = ("base", "cab")  # arms of the control
COMPARED = {
    "premise: no-context less base": ("no-context", "base"),
    "claim: cab less base": ("cab", "base"),
    "regulariser alone: blind-loss less base": ("blind-loss", "base"),
}
# A junction every minute and a half: on blocks of 400 m the context mattered too often.
STREETS = StreetConfig(
    columns=3, rows=3, block=1200.0, removed=0.25, curved=0.05, bend=0.1, roundabouts=0, lights=0.0
)


@dataclass(frozen=True)
class Setting:
    """How much is simulated, drawn from it and trained: networks for training, then those to choose
    by, then those of the test."""

    train_networks: int = 16
    validation_networks: int = 2
    test_networks: int = 4
    seconds: float = 40.0
    windows_per_network: int = 1500
    test_agents: int = 60
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=1200, learning_rate=3e-3)
    )

    @property
    def networks(self) -> int:
        return self.train_networks + self.validation_networks + self.test_networks


FULL = Setting()
QUICK = Setting(
    train_networks=2,
    validation_networks=1,
    test_networks=1,
    windows_per_network=300,
    test_agents=10,
    training=TrainingConfig(steps=40, warm_up=5),
)


@dataclass(frozen=True)
class Data:
    """Training windows, a random draw from each network; elsewhere all windows of some agents."""

    training: Windows
    validation: list[Scored]
    test: list[Scored]


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


@lru_cache(maxsize=1)
def data(setting: Setting, leak: bool) -> Data:
    """The windows of all networks, with the noise of a tracker."""
    rng = np.random.default_rng(0)
    folder = simulated_traffic(setting.networks, (STREETS,), setting.seconds)
    training, tests = [], []
    for k, path in enumerate(world_recordings(folder)[: setting.networks]):
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
    kept_back = setting.validation_networks
    return Data(concatenate(training), tests[:kept_back], tests[kept_back:])


def run(arm: str, seed: int, leak: bool, quick: bool, divergence: float) -> dict[str, Any]:
    """Train one arm and score it; the scores of its forecasts are kept beside its checkpoint."""
    setting = QUICK if quick else FULL
    windows_of = data(setting, leak)
    folder = run_folder(arm, seed, leak, quick, divergence)
    weights = replace(setting.training.weights, divergence=divergence)
    config = replace(setting.training, weights=weights)
    network = new_network(setting.network, seed)
    train(network, windows_of.training, arm, config, seed, folder, show=False)
    blind = arm == "no-context"
    validation = scores_of(network, windows_of.validation, blind)[0]
    scores, attributions = scores_of(network, windows_of.test, blind)
    save_scores(folder / "scores.npz", scores, attributions)
    figures = {
        **evaluation.summary(scores),
        "context share": context_share(attributions),
        **divergences(network, windows_of.test),
        "validation FDE": float(validation.fde.mean()),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def run_folder(arm: str, seed: int, leak: bool, quick: bool, divergence: float) -> Path:
    parts = [arm, str(seed)] + [f"{divergence:g}"] * (arm == "cab") + ["leaked"] * leak
    return STATE / NAME / hashed(QUICK if quick else FULL, STREETS) / "-".join(parts)


def differences(
    arm: str, other: str, seeds: int, quick: bool, divergence: float
) -> dict[str, dict[str, float]]:
    """Arm less other, mean over seeds per forecast, with intervals over agents."""
    rng = np.random.default_rng(0)

    def loaded(name: str) -> list[tuple[evaluation.Scores, NDArray[np.float64]]]:
        folders = [run_folder(name, seed, False, quick, divergence) for seed in range(seeds)]
        return [load_scores(folder / "scores.npz") for folder in folders]

    ours, theirs = loaded(arm), loaded(other)
    first = ours[0][0]
    agent, point_agent = first.agent, first.point_agent

    def gap(name: str) -> NDArray[np.float64]:
        pairs = zip(ours, theirs)
        return np.mean([getattr(a, name) - getattr(b, name) for (a, _), (b, _) in pairs], axis=0)

    intervals = {"FDE": paired_interval(gap("fde"), agent, rng)}
    for percent in (1, 2, 3):
        hard = hardest(first.difficulty, percent)
        paired = paired_interval(gap("fde")[hard], agent[hard], rng)
        intervals[f"FDE hardest {percent} %"] = paired
    intervals["off-road"] = paired_interval(gap("off_road"), agent, rng)
    intervals["D"] = paired_interval(gap("dispersion"), point_agent, rng)
    for radius, steps in zip(RADII, gap("convergence").T):
        intervals[f"C({radius:g} m)"] = paired_interval(steps * STEP, point_agent, rng)
    attributions = [a for _, a in ours], [b for _, b in theirs]
    intervals["context share"] = share_interval(*attributions, agent, rng)
    return intervals


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and interval of every figure of an arm."""
    names = [name for name, value in runs[0].items() if isinstance(value, float)]
    return {name: interval([run[name] for run in runs]) for name in names if name != "divergence"}


def main(argv: list[str]) -> None:
    """Prints one JSON line per training and writes docs/results/forecasting_world.json."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, a core each")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args(argv)
    quick, seeds = arguments.quick, 1 if arguments.quick else arguments.seeds
    arms = list(dict.fromkeys(arguments.arms))
    setting = QUICK if quick else FULL
    simulated_traffic(setting.networks, (STREETS,), setting.seconds)

    finished = Finished(NAME, (WORLD_VERSION, setting, STREETS))
    common = {"leak": False, "quick": quick}
    candidates = [{"arm": "cab", "seed": 0, **common, "divergence": value} for value in DIVERGENCES]
    tried = side_by_side(finished, candidates, run, arguments.jobs)
    divergence = min(tried, key=lambda each: each["validation FDE"])["divergence"]
    keys = [
        {"arm": arm, "seed": seed, **common, "divergence": divergence}
        for seed in range(seeds)
        for arm in arms
    ]
    keys += [{**key, "leak": True} for key in keys[: len(arms)] if key["arm"] in LEAKED]
    runs = side_by_side(finished, keys, run, arguments.jobs)
    honest = [r for r in runs if not r["leak"]]

    def less(arm: str, other: str) -> dict[str, Any]:
        return differences(arm, other, seeds, quick, divergence)

    physics = physics_scores(data(setting, leak=False).test)
    figures = {
        "physics": {name: evaluation.summary(scores) for name, scores in physics.items()},
        "lambda_KL: candidates": tried,
        "lambda_KL": divergence,
        "arms": {a: over_seeds([r for r in honest if r["arm"] == a]) for a in arms},
        **{name: less(*pair) for name, pair in COMPARED.items() if set(pair) <= set(arms)},
        "control with leaked states": [r for r in runs if r["leak"]],
        "every run": honest,
    }
    print(json.dumps({name: figures[name] for name in figures if "less" in name}))
    if not quick:
        command = f"ros_xai bench forecasting-world --seeds {seeds}"
        if set(arms) != set(OBJECTIVES):
            command += f" --arms {' '.join(arms)}"
        described = {"setting": asdict(setting), "streets": asdict(STREETS)}
        results.write(NAME, command, figures, seeds=seeds, **described)


if __name__ == "__main__":
    main(sys.argv[1:])
