"""How good and how steady forecasts are.

Displacement, miss and off-road rates follow the nuScenes prediction challenge; dispersion and
convergence-to-range are section 3.3 of CAB (Ben-Younes et al., arXiv 2109.08048). Positions are in
metres, all in one frame. Leading dimensions written `...` are batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import splev, splprep

Array = NDArray[np.float64]


def min_ade_k(modes: Array, probabilities: Array, truth: Array, k: int) -> Array:
    """Smallest mean distance to the truth [...,T,2] among the k likeliest of `modes` [...,K,T,2].

    Probabilities are [...,K]. Returns metres [...].
    """
    return _best_of_likeliest(_distances(modes, truth).mean(axis=-1), probabilities, k)


def min_fde_k(modes: Array, probabilities: Array, truth: Array, k: int) -> Array:
    """Smallest distance at the last step among the k likeliest modes; see `min_ade_k`."""
    return _best_of_likeliest(_distances(modes, truth)[..., -1], probabilities, k)


def miss_rate_k(
    modes: Array, probabilities: Array, truth: Array, k: int, tolerance: float = 2.0
) -> Array:
    """1 where each of the k likeliest modes is `tolerance` metres or more off at some step, else 0.

    The mean over forecasts is the miss rate (nuScenes' MissRateTopK_2 for 2 m).
    """
    worst = _best_of_likeliest(_distances(modes, truth).max(axis=-1), probabilities, k)
    return (worst >= tolerance).astype(np.float64)


def _distances(modes: Array, truth: Array) -> Array:
    return np.linalg.norm(np.asarray(modes) - np.asarray(truth)[..., None, :, :], axis=-1)


def _best_of_likeliest(error: Array, probabilities: Array, k: int) -> Array:
    if k < 1:
        raise ValueError(f"expected k of at least 1; got {k}")
    likeliest = np.argsort(-np.asarray(probabilities), axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(error, likeliest, axis=-1).min(axis=-1)


def off_road_rate(
    modes: Array, drivable: NDArray[np.bool_], origin: Array, resolution: float
) -> float:
    """Share of the modes [K,T,2], whatever their probability, that leave the drivable area.

    `drivable` [H,W]: cell (row, column) covers y from origin_y + row * resolution and x from
    origin_x + column * resolution, as in nav_msgs/OccupancyGrid; outside the grid is off the road.
    Each mode is judged on a smoothing cubic spline through it, as nuScenes' OffRoadRate does.
    """
    dense = np.stack([_densified(mode) for mode in np.asarray(modes, dtype=np.float64)])
    column, row = np.moveaxis(
        np.floor((dense - np.asarray(origin)) / resolution).astype(int), -1, 0
    )
    height, width = drivable.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    on_road = np.zeros(inside.shape, dtype=bool)
    on_road[inside] = drivable[row[inside], column[inside]]
    return float((~on_road.all(axis=-1)).mean())


def _densified(path: Array, points: int = 200, smoothing: float = 0.1) -> Array:
    """The path [T,2] as `points` positions [points,2] of a cubic spline.

    A path that hardly moves has too few distinct positions for a spline and is repeated as it is.
    """
    moved = np.r_[True, (np.diff(path, axis=0) != 0).any(axis=1)]
    distinct = path[moved]
    if len(distinct) <= 3:
        return path[np.linspace(0, len(path) - 1, points).round().astype(int)]
    spline, _ = splprep(distinct.T, s=smoothing)
    return np.stack(splev(np.linspace(0, 1, points), spline), axis=-1)


def dispersion(predictions: Array) -> Array:
    """Spread in metres of the forecasts [...,T,2] of one point made 1..T steps ahead of it.

    The standard deviation (population, ddof 0) of their distances to their barycentre.
    """
    barycentre = predictions.mean(axis=-2, keepdims=True)
    return np.linalg.norm(predictions - barycentre, axis=-1).std(axis=-1)


def convergence_to_range(predictions: Array, truth: Array, radius: float) -> NDArray[np.int64]:
    """Steps ahead of a point from which on all its forecasts stay within `radius` metres of it.

    `predictions` [...,T,2] were made 1..T steps ahead of the point `truth` [...,2]. Returns the
    largest T' such that the forecasts 1..T' are all in range; 0 if the nearest one already is not.
    """
    distance = np.linalg.norm(predictions - np.asarray(truth)[..., None, :], axis=-1)
    return np.cumprod(distance <= radius, axis=-1).sum(axis=-1)


def hardest(difficulty: Array, percent: float) -> NDArray[np.int64]:
    """Indices of the `percent` % of forecasts [N] with the largest difficulty, at least one."""
    count = max(1, int(len(difficulty) * percent / 100))
    return np.argsort(difficulty, kind="stable")[-count:]
