"""Which pixels may move like the static world: where the photometric loss tells the truth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ros_xai.core.camera import pixel_rays, project
from ros_xai.core.geometry import transform
from ros_xai.depth.pose import NEAR, distance_to_segment, gray, possible_images


def static_mask(
    target_image: NDArray[np.uint8],
    source_image: NDArray[np.uint8],
    points_camera: NDArray[np.floating],
    intrinsics: ArrayLike,
    T_source_target: NDArray[np.float64],
    tolerance: float = 1.5,
    spread: tuple[int, int] = (15, 41),
) -> NDArray[np.bool_]:
    """Target pixels [H, W] whose optical flow agrees with the ego motion.

    Off the epipolar segment by more than ``tolerance`` px nothing static can be. On it a mover in
    the ego's direction looks static at a wrong depth; there the LiDAR depth decides, and a
    contradiction spreads over ``spread`` (width, height) px around the return, a car's size.
    points_camera: [N, 3] metres in the target camera.
    """
    K = np.asarray(intrinsics, dtype=np.float64)
    target, source = gray(target_image), gray(source_image)
    height, width = target.shape
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(target, source, None)
    v, u = np.indices((height, width))
    ends = np.stack([u, v], axis=-1) + flow.astype(np.float64)
    rays = pixel_rays(K, height, width)
    static = distance_to_segment(ends, *possible_images(rays, T_source_target, K)) < tolerance

    points = np.asarray(points_camera, dtype=np.float64)
    points = points[points[:, 2] > NEAR / 2]
    pixels = np.rint(project(points, K)).astype(int)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(-1)
    points, pixels = points[inside], pixels[inside]
    expected = project(transform(T_source_target, points), K)
    measured = ends[pixels[:, 1], pixels[:, 0]]
    moved = np.linalg.norm(expected - measured, axis=-1) > 2 * tolerance
    moving = np.zeros((height, width), dtype=np.uint8)
    moving[pixels[moved, 1], pixels[moved, 0]] = 1
    # One stray return is noise, a few side by side are an object.
    agreeing = cv2.boxFilter(moving, -1, (9, 3), normalize=False) >= 3
    spreading = cv2.dilate((moving & agreeing).astype(np.uint8), np.ones(spread[::-1], np.uint8))
    return np.asarray(static & (spreading == 0))
