"""Scores of forecasts: one value per forecast or per point, averaged only at the very end."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import HORIZON, SNAP, STEP
from ros_xai.forecasting.baselines import kalman_end_point
from ros_xai.forecasting.metrics import (
    convergence_to_range,
    dispersion,
    hardest,
    min_ade_k,
    min_fde_k,
    miss_rate_k,
    off_road_rate,
)
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import Windows

Array = NDArray[np.float64]

RADII = (0.2, 1.0, 5.0)  # m


@dataclass(frozen=True)
class Scores:
    """Of N forecasts: agent [N]; ade, fde of the likeliest mode, difficulty [N] m; of P points that
    were forecast from every distance: point_agent [P], dispersion [P] m, convergence [P,3] steps
    for `RADII`. Off-road is 0 or 1 per forecast."""

    agent: NDArray[np.str_]
    ade: Array
    fde: Array
    min_ade_5: Array
    min_fde_5: Array
    miss_5: Array
    off_road: Array
    difficulty: Array
    point_agent: NDArray[np.str_]
    dispersion: Array
    convergence: NDArray[np.int64]


def concatenate(parts: list[Scores]) -> Scores:
    """The scores of several recordings together."""
    names = [entry.name for entry in fields(Scores)]
    return Scores(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def score(modes: Array, probabilities: Array, data: Windows, raster: MapRaster) -> Scores:
    """Score forecasts [N,K,T,2], [N,K] of the windows of one recording, in the agents' frames."""
    likeliest = modes[np.arange(len(modes)), probabilities.argmax(axis=1)]
    paths = data.in_map(likeliest)
    point_agent, predictions, truth = predictions_of_points(data, paths)
    s = data.scored
    known = modes[s], probabilities[s], data.future[s].astype(np.float64)
    single = known[0], known[1], known[2], 1
    return Scores(
        agent=data.agent[s],
        ade=min_ade_k(*single),
        fde=min_fde_k(*single),
        min_ade_5=min_ade_k(*known, k=5),
        min_fde_5=min_fde_k(*known, k=5),
        miss_5=miss_rate_k(*known, k=5),
        off_road=np.array(
            [
                off_road_rate(path[None], raster.drivable, raster.origin, raster.resolution)
                for path in paths[s]
            ]
        ),
        difficulty=difficulty(data)[s],
        point_agent=point_agent,
        dispersion=dispersion(predictions),
        convergence=np.stack(
            [convergence_to_range(predictions, truth, radius) for radius in RADII], axis=-1
        ),
    )


def difficulty(data: Windows) -> Array:
    """Distance [N] in metres of the truth's end from where a Kalman filter expects it."""
    end = data.in_map(data.future.astype(np.float64))[:, -1]
    return np.linalg.norm(kalman_end_point(data.past, HORIZON) - end, axis=-1)


def predictions_of_points(data: Windows, paths: Array) -> tuple[NDArray[np.str_], Array, Array]:
    """Points that were forecast from all of 1..T steps before: agent [P], the forecasts of each
    [P,T,2], nearest first, and the points [P,2] themselves, in the map frame.

    `paths` [N,T,2] are the windows' likeliest forecasts in the map frame.
    """
    first: dict[str, float] = {}
    for agent, time in zip(data.agent, data.time):
        first[agent] = min(time, first.get(agent, time))
    row = {
        (agent, round((time - first[agent]) / STEP)): i
        for i, (agent, time) in enumerate(zip(data.agent, data.time))
    }
    agents, rows, now = [], [], []
    ahead = np.arange(1, HORIZON + 1)
    for (agent, tick), i in row.items():
        before = [row.get((agent, tick - k)) for k in ahead]
        if None not in before:
            agents.append(agent)
            rows.append(before)
            now.append(i)
    index = np.array(rows, dtype=int).reshape(-1, HORIZON)
    # Forecasts are of whole steps, instants only nearly so: along the path by what is left over.
    late = data.time[now, None] - data.time[index] - STEP * ahead
    late[np.abs(late) <= SNAP] = 0
    velocity = np.gradient(paths, STEP, axis=1)[index, ahead - 1]
    points = paths[index, ahead - 1] + late[..., None] * velocity
    return np.array(agents, dtype=str), points, data.past[now, -1]


def summary(scores: Scores) -> dict[str, float]:
    """Means over forecasts and over points: metres and shares, convergence in seconds."""
    hard = {p: hardest(scores.difficulty, p) for p in (1, 2, 3)}
    seconds = scores.convergence.mean(axis=0) * STEP
    return {
        "ADE": float(scores.ade.mean()),
        "FDE": float(scores.fde.mean()),
        **{f"FDE hardest {p} %": float(scores.fde[i].mean()) for p, i in hard.items()},
        "minADE5": float(scores.min_ade_5.mean()),
        "minFDE5": float(scores.min_fde_5.mean()),
        "miss rate 5": float(scores.miss_5.mean()),
        "off-road": float(scores.off_road.mean()),
        "D": float(scores.dispersion.mean()),
        **{f"C({radius:g} m)": float(s) for radius, s in zip(RADII, seconds)},
    }
