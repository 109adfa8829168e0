"""Trainings and scores that both forecasting benchmarks share: kept on disk, run side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import entropy

from benchmarks.seeded import STATE, Finished
from ros_xai.data.forecasting import HORIZON, STEP
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.baselines import PHYSICS, physics_oracle
from ros_xai.forecasting.evaluation import Scores
from ros_xai.forecasting.features import Features, rotation_into, without_context
from ros_xai.forecasting.forecaster import predict
from ros_xai.forecasting.kinematics import steady_past
from ros_xai.forecasting.network import Network
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import Windows
from ros_xai.training.shipped_forecasting import simulate_traffic
from ros_xai.world.dataset import WORLD_VERSION
from ros_xai.world.network import NetworkConfig as StreetConfig

Array = NDArray[np.float64]
Scored = tuple[Windows, MapRaster]


def side_by_side(
    finished: Finished, keys: Iterable[dict[str, Any]], run: Callable[..., Any], jobs: int
) -> list[dict[str, Any]]:
    """`run(**key)` for every key that is not finished yet, in `jobs` processes of one thread."""
    with (
        ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as processes,
        ThreadPoolExecutor(jobs) as threads,
    ):

        def result(key: dict[str, Any]) -> dict[str, Any]:
            return finished.get(key, lambda: processes.submit(run, **key).result())

        return list(threads.map(result, keys))


def hashed(*settings: Any) -> str:
    """A name for what was made with these settings by this version of the world."""
    return hashlib.sha256(repr((WORLD_VERSION, settings)).encode()).hexdigest()[:12]


def simulated_traffic(count: int, streets: tuple[StreetConfig, ...], seconds: float) -> Path:
    """The folder of `count` traffic files, on networks that take turns; writes what is missing."""
    folder = STATE / "forecasting_traffic" / hashed(streets, seconds)
    simulate_traffic(folder, count, streets, seconds)
    return folder


def scores_of(network: Network, tests: list[Scored], blind: bool = False) -> tuple[Scores, Array]:
    """Scores on all recordings, and attributions [N,3] m of the scored forecasts."""
    scores, attributions = [], []
    for data, raster in tests:
        inputs = without_context(data.features) if blind else data.features
        p = predict(network, inputs)
        scores.append(evaluation.score(p.modes, p.probabilities, data, raster))
        attributions.append(p.attribution[data.scored])
    return evaluation.concatenate(scores), np.concatenate(attributions)


def divergences(network: Network, tests: list[Scored]) -> dict[str, float]:
    """How far (mean, nats) the latent is from that without context, and from that by the context of
    another agent: the first can be had by telling that there is a context, the second takes what
    it says."""
    none, another = [], []
    for data, _ in tests:
        own = predict(network, data.features)
        strange = predict(network, others_context(data.features))
        none.append(own.divergence)
        another.append(entropy(own.probabilities, strange.probabilities, axis=1))
    return {
        "divergence from no context": float(np.concatenate(none).mean()),
        "divergence from another's context": float(np.concatenate(another).mean()),
    }


def others_context(features: Features) -> Features:
    """Each agent with the map and the neighbours of one half of all agents further on."""
    half = len(features.map) // 2
    names = ("map", "neighbours", "neighbour_kind")
    return replace(features, **{name: np.roll(getattr(features, name), half, 0) for name in names})


def physics_scores(tests: list[Scored]) -> dict[str, Scores]:
    """Scores of every physics model, from differences over half a second and from the motion that
    the networks are given, and of the oracles that pick the best one per agent."""
    return {
        name: evaluation.concatenate(
            [evaluation.score(path[:, None], np.ones((len(path), 1)), *test) for path, test in each]
        )
        for name, each in _physics_paths(tests).items()
    }


def _physics_paths(tests: list[Scored]) -> dict[str, list[tuple[Array, Scored]]]:
    """Of every physics model the paths [N,T,2] on each recording, in the agents' frames."""
    found: dict[str, list[tuple[Array, Scored]]] = {}
    for data, raster in tests:
        offset = data.past - data.past[:, -1:]
        present = data.features.history[:, -1].astype(np.float64)
        pasts = {
            "": np.einsum("nij,ntj->nti", rotation_into(data.yaw), offset),
            ", fitted": steady_past(present[:, 2:4], present[:, 4:6], STEP),
        }
        truth = np.nan_to_num(data.future.astype(np.float64))
        for how, past in pasts.items():
            paths = {name: model(past, STEP, HORIZON) for name, model in PHYSICS.items()}
            paths["physics oracle"] = physics_oracle(past, STEP, truth)
            for name, path in paths.items():
                found.setdefault(name + how, []).append((path, (data, raster)))
    return found


def best_physics(scores: dict[str, Scores]) -> str:
    """The physics model of least FDE that needs no oracle."""
    models = [name for name in scores if "oracle" not in name]
    return min(models, key=lambda name: float(scores[name].fde.mean()))


def context_share(attributions: Array) -> float:
    """Share of map and neighbours in the attributions [N,3], by their absolute values."""
    size = np.abs(attributions).sum(axis=0)
    return float(size[1:].sum() / size.sum())


def save_scores(path: Path, scores: Scores, attributions: Array) -> None:
    """Keep the scores beside the run they are of."""
    np.savez(path, attributions=attributions, **vars(scores))


def load_scores(path: Path) -> tuple[Scores, Array]:
    """Scores and attributions that `save_scores` kept."""
    with np.load(path) as arrays:
        columns = dict(arrays)
    attributions = columns.pop("attributions")
    return Scores(**columns), attributions


def _bootstrap(agent: NDArray[np.str_], rng: np.random.Generator, draws: int = 2000) -> Array:
    """How often each of the forecasts' agents is drawn [draws,G]: those of one agent belong
    together and are drawn, or not, as a whole."""
    agents = len(np.unique(agent))
    return rng.multinomial(agents, np.full(agents, 1 / agents), size=draws).astype(np.float64)


def _by_agent(values: Array, agent: NDArray[np.str_]) -> Array:
    """Sums [G] of values [N] over the forecasts of each agent."""
    return np.bincount(np.unique(agent, return_inverse=True)[1], weights=values)


def paired_interval(
    difference: Array, agent: NDArray[np.str_], rng: np.random.Generator
) -> dict[str, float]:
    """Mean of the differences [N] and its 95 % bootstrap interval over agents."""
    drawn = _bootstrap(agent, rng)
    total, count = _by_agent(difference, agent), _by_agent(np.ones(len(agent)), agent)
    return _interval(difference.mean(), (drawn @ total) / (drawn @ count))


def share_interval(
    ours: list[Array], theirs: list[Array], agent: NDArray[np.str_], rng: np.random.Generator
) -> dict[str, float]:
    """Difference of the context shares of attributions [N,3], mean over the pairs (seeds), and its
    95 % bootstrap interval over agents."""
    drawn = _bootstrap(agent, rng)

    def shares(attributions: Array, weights: Array) -> Array:
        size = np.abs(attributions)
        context = weights @ _by_agent(size[:, 1:].sum(axis=1), agent)
        return context / (weights @ _by_agent(size.sum(axis=1), agent))

    def gap(weights: Array) -> Array:
        pairs = zip(ours, theirs)
        return np.mean([shares(a, weights) - shares(b, weights) for a, b in pairs], axis=0)

    return _interval(gap(np.ones((1, drawn.shape[1])))[0], gap(drawn))


def _interval(mean: float, drawn: Array) -> dict[str, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "mean": round(float(mean), 4),
        "low_95": round(float(low), 4),
        "high_95": round(float(high), 4),
    }
