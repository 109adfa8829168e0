"""Trainings and scores that both forecasting benchmarks share: kept on disk, run side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.seeded import Finished
from ros_xai.data.forecasting import HORIZON, STEP
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.baselines import PHYSICS, physics_oracle
from ros_xai.forecasting.evaluation import Scores
from ros_xai.forecasting.features import rotation_into, without_context
from ros_xai.forecasting.forecaster import predict
from ros_xai.forecasting.network import Network
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import Windows
from ros_xai.world.dataset import traffic_arrays
from ros_xai.world.network import NetworkConfig as StreetConfig
from ros_xai.world.traffic import simulate

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


def simulate_traffic(folder: Path, count: int, streets: list[StreetConfig], seconds: float) -> None:
    """Write what is missing of `count` traffic files, on networks that take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        target = folder / f"traffic_{k:04d}.npz"
        if target.exists():
            continue
        traffic = simulate(k, seconds, streets[k % len(streets)])
        (folder / f"map_{k:04d}.json").write_text(json.dumps(traffic.road_map.as_record()))
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **traffic_arrays(traffic))
        part.replace(target)


def scores_of(network: Network, tests: list[Scored], blind: bool = False) -> tuple[Scores, Array]:
    """Scores on all recordings, and attributions [N,3] m of the scored forecasts."""
    scores, attributions = [], []
    for data, raster in tests:
        inputs = without_context(data.features) if blind else data.features
        p = predict(network, inputs)
        scores.append(evaluation.score(p.modes, p.probabilities, data, raster))
        attributions.append(p.attribution[data.scored])
    return evaluation.concatenate(scores), np.concatenate(attributions)


def physics_scores(tests: list[Scored]) -> dict[str, Scores]:
    """Scores of every physics model, and of the oracle that picks the best one per agent."""
    models: dict[str, Callable[[Windows], Array]] = {
        name: lambda data, model=model: model(data.past, STEP, HORIZON)
        for name, model in PHYSICS.items()
    }
    models["physics oracle"] = lambda data: physics_oracle(
        data.past, STEP, data.in_map(np.nan_to_num(data.future.astype(np.float64)))
    )
    return {
        name: evaluation.concatenate(
            [_score_of_paths(model(data), data, raster) for data, raster in tests]
        )
        for name, model in models.items()
    }


def _score_of_paths(paths: Array, data: Windows, raster: MapRaster) -> Scores:
    """Scores of single forecasts [N,T,2] in the map frame."""
    modes = np.einsum("nij,ntj->nti", rotation_into(data.yaw), paths - data.past[:, -1:])
    return evaluation.score(modes[:, None], np.ones((len(data), 1)), data, raster)


def context_share(attributions: Array) -> float:
    """Share of map and neighbours in the attributions [N,3], by their absolute values."""
    size = np.abs(attributions).sum(axis=0)
    return float(size[1:].sum() / size.sum())


def save_scores(path: Path, scores: Scores) -> None:
    """Keep the scores beside the run they are of."""
    np.savez(path, **vars(scores))


def load_scores(path: Path) -> Scores:
    """Scores that `save_scores` kept."""
    with np.load(path) as arrays:
        return Scores(**arrays)


def paired_interval(
    difference: Array, agent: NDArray[np.str_], rng: np.random.Generator, draws: int = 2000
) -> dict[str, float]:
    """Mean difference and its 95 % bootstrap interval over agents, whose forecasts [N] belong
    together: those of one agent are drawn, or not, as a whole."""
    _, group = np.unique(agent, return_inverse=True)
    total, count = np.bincount(group, weights=difference), np.bincount(group)
    drawn = rng.integers(len(total), size=(draws, len(total)))
    means = total[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean": round(float(difference.mean()), 4),
        "low_95": round(float(low), 4),
        "high_95": round(float(high), 4),
    }
