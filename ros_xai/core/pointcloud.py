"""From LiDAR points to few-beam depth images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ros_xai.core.camera import project


def sparse_depth(
    points_camera: NDArray[np.floating],
    intrinsics: ArrayLike,
    height: int,
    width: int,
    min_depth: float = 0.1,
    max_depth: float = 200.0,
) -> NDArray[np.float32]:
    """Depth image float32 [H,W] in metres along the optical axis, 0 where no point falls.

    Points [N,3] are in the camera frame. Where several fall on a pixel the nearest wins: keeping
    the last or the farthest would let background shine through foreground. Points that are not
    finite or not in (min_depth, max_depth) are left out.
    """
    image = np.zeros((height, width), dtype=np.float32)
    z = points_camera[:, 2]
    points = points_camera[(z > min_depth) & (z < max_depth)]
    # What is not finite fails every comparison below, so it needs no pass of its own.
    with np.errstate(invalid="ignore"):
        u, v = np.rint(project(points, intrinsics)).T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    pixel = v[inside].astype(np.int32) * width + u[inside].astype(np.int32)
    depth = points[inside, 2].astype(np.float32)
    # Of the points on one pixel the last written stays: write from far to near.
    order = np.argsort(-depth, kind="stable")
    image.reshape(-1)[pixel[order]] = depth[order]
    return image


def rings_from_elevation(points_lidar: NDArray[np.floating], beams: int) -> NDArray[np.int64]:
    """Ring number [N] by elevation, 0 = the top beam, for clouds [N,3] without a ring field.

    The scan's own elevation range, between its 0.1 and 99.9 percentiles, is cut in `beams` equal
    bands: right for scanners with evenly spaced beams, approximate for others. Points that are not
    finite get ring -1.
    """
    distance = np.hypot(points_lidar[:, 0], points_lidar[:, 1])
    elevation = np.arctan2(points_lidar[:, 2], distance)
    finite = np.isfinite(elevation)
    rings = np.full(len(points_lidar), -1, dtype=np.int64)
    if not finite.any():
        return rings
    low, high = np.percentile(elevation[finite], [0.1, 99.9])
    position = (high - elevation[finite]) / max(high - low, 1e-9) * (beams - 1)
    rings[finite] = np.clip(np.rint(position), 0, beams - 1).astype(np.int64)
    return rings


def keep_rings(ring: NDArray[np.integer], rings: Iterable[int]) -> NDArray[np.bool_]:
    """Mask [N] of the points whose ring is one of `rings`."""
    return np.isin(ring, list(rings))
