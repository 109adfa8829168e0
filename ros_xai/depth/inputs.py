"""What a depth network sees of one frame: the same arrays in training and on the road.

Geometry channels [4, H, W]: inverse depth of the returns and the interpolated inverse depth (1/m,
0 = none), the confidence of the interpolation in [0, 1], and the inverse depth of the road's plane.
All are of a canonical camera: seen through another focal length the same picture belongs to a
world scaled by f / FOCAL (Yin et al., "Metric3D", ICCV 2023), so one network serves any camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ros_xai.depth.fill import column_fill
from ros_xai.depth.road import NOMINAL, fit_road

SPARSE, FILL, CONFIDENCE, ROAD = range(4)
FOCAL = 370.0  # pixels: KITTI's 721.5 at 640 of 1242 columns
CONFIDENCE_ROWS = 16.0  # rows from a beam at which its interpolation has lost 1/e of its weight


@dataclass(frozen=True)
class NetworkInput:
    """image float32 [3, H, W] in [0, 1]; geometry float32 [4, H, W]; ``scale``: real depth in
    metres = canonical depth * scale."""

    image: NDArray[np.float32]
    geometry: NDArray[np.float32]
    scale: float


def network_input(
    image: NDArray[np.uint8], sparse_depth: NDArray[np.float32], intrinsics: ArrayLike
) -> NetworkInput:
    """Arrays for the network from an image [H, W, 3] rgb, a sparse depth [H, W] m and its K."""
    K = np.asarray(intrinsics, dtype=np.float64)
    height, width = sparse_depth.shape
    scale = float(K[1, 1] / FOCAL)
    road = fit_road(sparse_depth, K)
    plane = (road or NOMINAL).disparity(K, height, width)
    fill = column_fill(sparse_depth, road=None if road is None else plane)
    geometry = np.empty((4, height, width), dtype=np.float32)
    geometry[SPARSE] = np.divide(
        scale, sparse_depth, out=np.zeros_like(sparse_depth), where=sparse_depth > 0
    )
    geometry[FILL] = fill.disparity * np.float32(scale)
    geometry[CONFIDENCE] = np.exp(-fill.distance / np.float32(CONFIDENCE_ROWS))
    geometry[ROAD] = plane * np.float32(scale)
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    pixels *= np.float32(1 / 255)
    return NetworkInput(pixels, geometry, scale)


def resize_sparse(
    sparse_depth: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float32]:
    """The returns moved to the pixels of a smaller image [height, width]; the nearest wins."""
    hit = np.flatnonzero(sparse_depth > 0)
    rows, columns = np.divmod(hit, sparse_depth.shape[1])
    depth = sparse_depth.reshape(-1)[hit]
    order = np.argsort(-depth, kind="stable")
    resized = np.zeros((height, width), dtype=np.float32)
    v = (rows * height + height // 2) // sparse_depth.shape[0]
    u = (columns * width + width // 2) // sparse_depth.shape[1]
    resized[v[order].clip(0, height - 1), u[order].clip(0, width - 1)] = depth[order]
    return resized


def lidar_coverage(sparse_depth: NDArray[np.float32]) -> float:
    """Share of the image's columns within reach of a return: 1 in health, 0 with the LiDAR off."""
    radius = max(1, round(sparse_depth.shape[1] / 400))
    hit = (sparse_depth > 0).any(0).astype(np.float32)
    return float((np.convolve(hit, np.ones(2 * radius + 1), mode="same") > 0).mean())
