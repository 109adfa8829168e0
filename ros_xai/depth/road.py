"""The road as a plane through few-beam returns: what the pixels between two beams look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

HEIGHTS = (0.8, 3.5)  # metres of a camera above the road, cars to trucks
MAX_TILT = (0.06, 0.12)  # slope of the road against the camera, sideways and forward
TOLERANCE = (0.06, 0.004)  # metres from the plane: at the camera, and per metre of depth
HYPOTHESES = 256
MIN_INLIERS = 30


@dataclass(frozen=True)
class Road:
    """Plane y = side x + forward z + height in the optical camera frame (y down, metres)."""

    side: float
    forward: float
    height: float

    def disparity(self, intrinsics: ArrayLike, height: int, width: int) -> NDArray[np.float32]:
        """Inverse depth [height, width] of the plane, 1/m, 0 above its horizon."""
        K = np.asarray(intrinsics, dtype=np.float64)
        x = (np.arange(width) - K[0, 2]) / K[0, 0]
        y = (np.arange(height) - K[1, 2]) / K[1, 1]
        plane = (y[:, None] - self.side * x - self.forward) / self.height
        return np.maximum(plane, 0).astype(np.float32)


# A passenger car's camera over a level road, when the returns show none.
NOMINAL = Road(0.0, 0.0, 1.65)


def fit_road(
    sparse_depth: NDArray[np.float32], intrinsics: ArrayLike, max_points: int = 300
) -> Road | None:
    """RANSAC, then least squares on the inliers; None without a plausible road.

    sparse_depth: [H, W] metres, 0 = none; only returns below the camera and within 40 m count.
    The samples are drawn from a fixed seed, so that the same returns give the same road.
    """
    K = np.asarray(intrinsics, dtype=np.float64)
    v, u = np.nonzero(sparse_depth)
    z = sparse_depth[v, u].astype(np.float64)
    y = (v - K[1, 2]) / K[1, 1] * z
    low = (y > HEIGHTS[0] / 2) & (z < 40)
    if low.sum() < MIN_INLIERS:
        return None
    chosen = np.flatnonzero(low)[:: max(1, int(low.sum()) // max_points)]
    x, y, z = (u[chosen] - K[0, 2]) / K[0, 0] * z[chosen], y[chosen], z[chosen]
    system = np.stack([x, z, np.ones_like(x)], axis=1)
    picks = np.random.default_rng(0).integers(len(x), size=(HYPOTHESES, 3))
    with np.errstate(all="ignore"):  # three returns on a line give no plane, and are not voted for
        planes = _solve(system[picks], y[picks])
        near = np.abs(planes @ system.T - y) < TOLERANCE[0] + TOLERANCE[1] * z
    plausible = (
        (np.abs(planes[:, :2]) < MAX_TILT).all(1)
        & (planes[:, 2] > HEIGHTS[0])
        & (planes[:, 2] < HEIGHTS[1])
    )
    votes = near.sum(1) * plausible
    best = int(votes.argmax())
    if votes[best] < MIN_INLIERS:
        return None
    inlier = near[best]
    plane, *_ = np.linalg.lstsq(system[inlier], y[inlier], rcond=None)
    return Road(*(float(c) for c in plane))


def _solve(matrices: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cramer's rule [N, 3]: a singular sample gives numbers that are not finite, not an error."""
    a, b, c = np.moveaxis(matrices, 1, 0)
    ab, bc, ca = np.cross(a, b), np.cross(b, c), np.cross(c, a)
    volume = (a * bc).sum(-1, keepdims=True)
    y = values[..., None]
    return np.asarray((bc * y[:, 0] + ca * y[:, 1] + ab * y[:, 2]) / volume)
