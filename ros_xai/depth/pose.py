"""Ego motion between two images from the LiDAR points of the first: no learning, metric scale.

LiDARTouch (arXiv 2109.03569, section 3.3) solves PnP on SIFT matches with a known depth. Here the
projected LiDAR pixels themselves are tracked by default, since few matches fall on four thin scan
lines, and the answer is checked against the whole image: traffic at the ego's speed gives a
perfectly consistent motion of zero, which the moving texture of the street then contradicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ros_xai.core.camera import project
from ros_xai.core.geometry import pose, transform
from ros_xai.depth.matches import borrow_depth, corners, sift_matches, track

Array = NDArray[np.float64]
NEAR = 2.0  # metres: nothing the camera sees is closer
IN_FRONT = 1e-3  # metres: what the source camera sees is ahead of it


class MotionStatus(Enum):
    """Whether ``Motion.T_source_target`` can be trusted."""

    OK = "ok"
    STATIC = "static"  # trusted, but too short for a parallax
    TOO_FEW_POINTS = "too few points"  # not enough tracks or inliers
    CONTRADICTED = "contradicted"  # the image moves otherwise: co-moving traffic, or a blunder


@dataclass(frozen=True)
class MotionConfig:
    """``matcher``: "klt" tracks the LiDAR pixels, "sift" is the paper's matching (see PAPER).

    Of the paper's code are SIFT's ratio and number and the shortest motion. About half of a
    street's cells agree even with the true motion (other movers, trees, lost tracks).
    """

    matcher: Literal["klt", "sift"] = "klt"
    reprojection_error: float = 1.0  # px
    iterations: int = 300
    min_inliers: int = 12
    min_distance: float = 0.15  # m: below, the pair is called static
    min_explained: float = 0.4  # share of the image's cells whose motion must be allowed
    min_explained_static: float = (
        0.55  # the same for standing still, which allows nothing by chance
    )
    hypotheses: int = 3  # consensus sets that are compared, largest first
    max_points: int = 2000
    max_forward_backward: float = 0.7  # px
    sift_features: int = 1000
    sift_ratio: float = 0.8
    sift_radius: float = 2.0  # px between a feature and the LiDAR pixel that lends it depth


PAPER = MotionConfig(matcher="sift", reprojection_error=2.0, iterations=100, min_inliers=4)


@dataclass(frozen=True)
class Motion:
    """T_source_target maps target camera points into the source camera (metres); identity when
    no motion was found. ``explained``: share of the image's cells that agree with it."""

    T_source_target: Array
    inliers: int
    status: MotionStatus
    explained: float

    @property
    def trusted(self) -> bool:
        """True for OK and STATIC."""
        return self.status in (MotionStatus.OK, MotionStatus.STATIC)

    @property
    def distance(self) -> float:
        """Length of the translation, metres."""
        return float(np.linalg.norm(self.T_source_target[:3, 3]))


def estimate_motion(
    target_image: NDArray[np.uint8],
    source_image: NDArray[np.uint8],
    points_camera: NDArray[np.floating],
    intrinsics: ArrayLike,
    config: MotionConfig | None = None,
) -> Motion:
    """Motion of the camera from the target's to the source's time by PnP.

    Images: uint8 [H, W, 3] rgb or [H, W], full resolution; points_camera: [N, 3] metres, LiDAR
    points in the target camera's frame; intrinsics: [3, 3] px. Of the largest consensus sets the
    one that the image contradicts least is the answer. Raises ValueError when the images differ
    in size.
    """
    config = config or MotionConfig()
    if target_image.shape[:2] != source_image.shape[:2]:
        raise ValueError(
            f"expected two images of one size; got {target_image.shape} and {source_image.shape}"
        )
    target, source = gray(target_image), gray(source_image)
    K = np.asarray(intrinsics, dtype=np.float64)
    points, moved = _correspondences(target, source, points_camera, K, config)
    starts = corners(target)
    ends, tracked = track(target, source, starts, config.max_forward_backward)
    starts, ends = starts[tracked], ends[tracked]

    best, largest = Motion(np.eye(4), 0, MotionStatus.TOO_FEW_POINTS, 0.0), 0
    for _ in range(config.hypotheses):
        T, inlier = solve_pnp(points, moved, K, config)
        inliers = int(inlier.sum())
        if inliers < config.min_inliers:
            break
        largest = max(largest, inliers)
        explained = explained_share(T, starts, ends, K, target.shape)
        motion = Motion(T, inliers, _status(T, explained, config), explained)
        if motion.status is MotionStatus.STATIC and inliers > largest / 4:
            return motion  # else a departing car, as a backward motion, would explain even more
        best = max(best, motion, key=lambda m: m.explained)
        points, moved = points[~inlier], moved[~inlier]
    return best


def solve_pnp(
    points: Array, pixels: Array, intrinsics: Array, config: MotionConfig
) -> tuple[Array, NDArray[np.bool_]]:
    """EPnP in RANSAC, refined on its inliers. points [N, 3] m, pixels [N, 2] of the source.

    Returns T_source_target [4, 4] and the inliers [N]; identity and no inlier on failure.
    """
    inlier = np.zeros(len(points), dtype=bool)
    if len(points) < max(4, config.min_inliers):
        return np.eye(4), inlier
    cv2.setRNGSeed(0)  # OpenCV's sampling is global state; a motion must not depend on history
    found, rotation, translation, index = cv2.solvePnPRansac(
        points,
        pixels,
        intrinsics,
        None,
        iterationsCount=config.iterations,
        reprojectionError=config.reprojection_error,
        flags=cv2.SOLVEPNP_EPNP,
    )
    if not found or index is None or len(index) < 4:
        return np.eye(4), inlier
    inlier[index.ravel()] = True
    rotation, translation = cv2.solvePnPRefineLM(
        points[inlier], pixels[inlier], intrinsics, None, rotation, translation
    )
    return pose(cv2.Rodrigues(rotation)[0], translation.ravel()), inlier


def explained_share(
    T_source_target: Array,
    starts: Array,
    ends: Array,
    intrinsics: Array,
    shape: tuple[int, ...],
    tolerance: float = 1.0,
) -> float:
    """Share of image cells where most tracks starts -> ends [N, 2] are possible at some depth.

    Under a motion a static point must land on its segment of ``possible_images``. Objects that
    move with the camera stay at infinity's end of any forward motion, so a true motion explains
    traffic and street, a motion of zero only the traffic.
    """
    if len(starts) == 0:
        return 0.0
    rays = np.concatenate([starts, np.ones((len(starts), 1))], axis=1) @ np.linalg.inv(intrinsics).T
    error = distance_to_segment(ends, *possible_images(rays, T_source_target, intrinsics))
    height, width = shape[:2]
    cell = (starts / (width / 16, height / 8)).astype(int) @ (1, 16)
    _, index = np.unique(cell, return_inverse=True)
    share = np.bincount(index, error < tolerance) / np.bincount(index)
    return float((share >= 0.5).mean())


def possible_images(rays: Array, T_source_target: Array, intrinsics: Array) -> tuple[Array, Array]:
    """Source pixels [..., 2] between which a static point on a ray [..., 3] (z = 1) must land: of
    the point at infinity, and at NEAR or where the source camera has just not passed it."""
    turned = rays @ T_source_target[:3, :3].T
    ahead = np.maximum(turned[..., 2:], IN_FRONT)
    depth = np.maximum(NEAR, (IN_FRONT - T_source_target[2, 3]) / ahead)
    near = project(transform(T_source_target, depth * rays), intrinsics)
    return project(turned, intrinsics), near


def distance_to_segment(points: Array, start: Array, end: Array) -> Array:
    """Pixel distance [...] of points [..., 2] to the segments start -> end [..., 2]."""
    along = end - start
    length2 = np.maximum((along**2).sum(-1), 1e-12)
    t = (((points - start) * along).sum(-1) / length2).clip(0, 1)
    return np.asarray(np.linalg.norm(points - start - t[..., None] * along, axis=-1))


def _correspondences(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    points_camera: NDArray[np.floating],
    intrinsics: Array,
    config: MotionConfig,
) -> tuple[Array, Array]:
    """Points [M, 3] of the target camera and their pixels [M, 2] in the source."""
    points = np.asarray(points_camera, dtype=np.float64)
    points = points[np.isfinite(points).all(-1) & (points[:, 2] > NEAR / 2)]
    pixels = project(points, intrinsics)
    height, width = target.shape
    inside = ((pixels >= 0) & (pixels <= (width - 1, height - 1))).all(-1)
    points, pixels = points[inside], pixels[inside]
    if config.matcher == "sift":
        at, to = sift_matches(target, source, config.sift_features, config.sift_ratio)
        depth = borrow_depth(at, pixels, points[:, 2], config.sift_radius)
        has = np.isfinite(depth)
        rays = np.concatenate([at, np.ones((len(at), 1))], axis=1) @ np.linalg.inv(intrinsics).T
        return rays[has] * depth[has, None], to[has]
    step = max(1, -(-len(points) // config.max_points))
    ends, tracked = track(target, source, pixels[::step], config.max_forward_backward)
    return points[::step][tracked], ends[tracked]


def _status(T: Array, explained: float, config: MotionConfig) -> MotionStatus:
    static = np.linalg.norm(T[:3, 3]) < config.min_distance
    if explained < (config.min_explained_static if static else config.min_explained):
        return MotionStatus.CONTRADICTED
    return MotionStatus.STATIC if static else MotionStatus.OK


def gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey image [H, W] of an rgb or grey one."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
