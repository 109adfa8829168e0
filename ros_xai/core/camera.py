"""The pinhole camera.

Camera frames are optical (REP-103): x right, y down, z forward. Pixel centres are at integers, so a
[H,W] image covers u in [-0.5, W-0.5].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def project(points_camera: NDArray[np.floating], intrinsics: ArrayLike) -> NDArray[np.floating]:
    """Pixels (u, v) [N,2] of points [N,3] in metres; only meaningful for z > 0."""
    K = np.asarray(intrinsics, dtype=points_camera.dtype)
    homogeneous = points_camera @ K.T
    pixels: NDArray[np.floating] = homogeneous[..., :2] / homogeneous[..., 2:]
    return pixels


def pixel_rays(intrinsics: ArrayLike, height: int, width: int) -> Array:
    """Directions [H,W,3] through every pixel, scaled to z = 1 (not to unit length)."""
    K = np.asarray(intrinsics, dtype=np.float64)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float64)
    rays: Array = pixels @ np.linalg.inv(K).T
    return rays


def back_project(depth: NDArray[np.floating], intrinsics: ArrayLike) -> Array:
    """Points [H,W,3] in the camera frame of a depth image [H,W], metres along the optical axis."""
    height, width = depth.shape
    return pixel_rays(intrinsics, height, width) * depth[..., None]


def scale_intrinsics(intrinsics: ArrayLike, scale_x: float, scale_y: float) -> Array:
    """Intrinsics [3,3] of the image resized by (scale_x, scale_y).

    With pixel centres at integers a pixel u moves to (u + 0.5) * scale_x - 0.5.
    """
    K = np.asarray(intrinsics, dtype=np.float64)
    resize = np.array(
        [
            [scale_x, 0.0, 0.5 * scale_x - 0.5],
            [0.0, scale_y, 0.5 * scale_y - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    scaled: Array = resize @ K
    return scaled
