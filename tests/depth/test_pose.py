"""Ego motion: recovered from synthetic scenes, and not fooled by traffic on real ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ros_xai.core.camera import project
from ros_xai.core.geometry import pose, transform
from ros_xai.data.kitti import NARROW_RINGS, RINGS, KittiClip
from ros_xai.depth.matches import borrow_depth, sift_matches
from ros_xai.depth.pose import (
    PAPER,
    MotionConfig,
    MotionStatus,
    estimate_motion,
    explained_share,
    solve_pnp,
)

K = np.array([[700.0, 0, 320], [0, 700, 120], [0, 0, 1]])
SHAPE = (240, 640)


def wall(seed: int = 0) -> np.ndarray:
    """Smooth random texture uint8 [240, 640] with detail at several sizes."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((240 // s, 640 // s)), (640, 240)) for s in (2, 4, 8, 16)]
    return (255 * np.mean(layers, axis=0)).astype(np.uint8)


def seen_after(image: np.ndarray, T: np.ndarray, depth: float) -> np.ndarray:
    """The wall z = depth of ``image`` seen by a camera that moved by T (target -> source)."""
    plane = T[:3, :3] + np.outer(T[:3, 3], [0, 0, 1 / depth])
    return cv2.warpPerspective(
        image, K @ plane @ np.linalg.inv(K), image.shape[::-1], flags=cv2.INTER_LINEAR
    )


def wall_points(depth: float) -> np.ndarray:
    u, v = np.meshgrid(np.arange(20, 620, 5), np.arange(30, 220, 30))
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    return depth * pixels @ np.linalg.inv(K).T


def motion(x: float, y: float, z: float, degrees: float = 0.0) -> np.ndarray:
    return pose(cv2.Rodrigues(np.radians([0.2, degrees, 0.1]))[0], [x, y, z])


def test_pnp_recovers_a_noise_free_motion():
    rng = np.random.default_rng(1)
    points = rng.uniform((-8, -2, 4), (8, 2, 40), (60, 3))
    T = motion(0.2, -0.05, -1.1, 1.5)
    pixels = project(transform(T, points), K)
    found, inlier = solve_pnp(points, pixels, K, MotionConfig())
    assert np.abs(found - T).max() < 1e-3
    assert inlier.all()


def test_pnp_leaves_outliers_out():
    rng = np.random.default_rng(2)
    points = rng.uniform((-8, -2, 4), (8, 2, 40), (100, 3))
    T = motion(0.0, 0.0, -0.8)
    pixels = project(transform(T, points), K)
    pixels[:40] += rng.uniform(20, 60, (40, 2))
    found, inlier = solve_pnp(points, pixels, K, MotionConfig())
    assert np.abs(found - T).max() < 1e-3
    assert inlier.tolist() == [False] * 40 + [True] * 60


def test_pnp_refuses_too_few_points():
    points = np.random.default_rng(3).uniform(1, 9, (11, 3))
    found, inlier = solve_pnp(points, project(points, K), K, MotionConfig(min_inliers=12))
    assert np.array_equal(found, np.eye(4))
    assert not inlier.any()


@pytest.mark.parametrize("config", [None, PAPER], ids=["klt", "sift"])
def test_motion_between_images_of_a_wall(config):
    T = motion(0.15, 0.02, -0.6, 0.5)
    image = wall()
    result = estimate_motion(image, seen_after(image, T, 12.0), wall_points(12.0), K, config)
    assert result.status is MotionStatus.OK
    # A single plane seen from afar leaves yaw and sideways motion nearly exchangeable.
    assert np.linalg.norm(result.T_source_target[:3, 3] - T[:3, 3]) < 0.12
    assert abs(result.T_source_target[2, 3] + 0.6) < 0.03


def test_same_image_is_static():
    result = estimate_motion(wall(), wall(), wall_points(10.0), K)
    assert result.status is MotionStatus.STATIC
    assert result.distance < 0.02


def test_no_points_gives_identity_and_says_so():
    result = estimate_motion(wall(), wall(), np.empty((0, 3)), K)
    assert result.status is MotionStatus.TOO_FEW_POINTS
    assert not result.trusted
    assert np.array_equal(result.T_source_target, np.eye(4))


def test_points_behind_or_unknown_are_ignored():
    points = np.concatenate([wall_points(10.0), [[0, 0, -5], [np.nan, 0, 5], [1e3, 0, 1]]])
    assert estimate_motion(wall(), wall(), points, K).status is MotionStatus.STATIC


def test_unrelated_images_are_not_trusted():
    result = estimate_motion(wall(0), wall(9), wall_points(10.0), K)
    assert not result.trusted


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        estimate_motion(wall(), wall()[:100], wall_points(10.0), K)


@pytest.mark.parametrize("ahead", [1.0, 3.0])  # of points 2 m away, or past them
def test_true_motion_explains_street_and_co_moving_car_zero_motion_only_the_car(ahead):
    rng = np.random.default_rng(4)
    starts = rng.uniform((0, 0), (640, 240), (2000, 2))
    rays = np.concatenate([starts, np.ones((2000, 1))], axis=1) @ np.linalg.inv(K).T
    T = motion(0.0, 0.0, -ahead)
    ends = project(transform(T, 8.0 * rays), K)
    car = (np.abs(starts - (320, 120)) < (96, 45)).all(-1)
    ends[car] = project(rays[car] @ T[:3, :3].T, K)  # keeps its place up to the rotation
    assert explained_share(T, starts, ends, K, SHAPE) == 1.0
    assert explained_share(motion(0, 0, 0), starts, ends, K, SHAPE) < 0.35


def test_features_that_look_alike_are_no_sift_matches():
    once = wall()[:, :320]
    at, _ = sift_matches(once, once, 500, 0.8)
    assert len(at) > 50
    twice = np.concatenate([once, once], axis=1)
    ambiguous, _ = sift_matches(twice, twice, 500, 0.8)
    assert len(ambiguous) < 0.3 * len(at)  # those at the seam and the border


def test_features_borrow_the_nearer_depth_within_the_radius():
    pixels = np.array([[10.0, 10.0], [11.0, 10.0], [50.0, 50.0]])
    at = np.array([[10.0, 11.0], [30.0, 30.0]])
    depth = borrow_depth(at, pixels, np.array([9.0, 4.0, 2.0]), radius=2.0)
    assert depth.tolist() == [4.0, np.inf]


def kitti_motion(clip: KittiClip, index: int, rings, config=None):
    xyz, ring, _ = clip.scan(index)
    points = transform(clip.T_camera_lidar, xyz[np.isin(ring, list(rings))])
    return estimate_motion(
        clip.image(index), clip.image(index + 3), points, clip.intrinsics, config
    )


@pytest.fixture
def clip(data_dir: Path) -> KittiClip:
    return KittiClip(data_dir / "kitti")


def apart(a, b) -> float:
    return float(np.linalg.norm((a.T_source_target - b.T_source_target)[:3, 3]))


def test_narrow_fan_on_traffic_does_not_fool_the_motion(clip):
    naive = MotionConfig(hypotheses=1, min_explained=0.0, min_explained_static=0.0)
    fooled = []
    for index in (9, 18, 39, 45):
        truth = kitti_motion(clip, index, range(64))
        few = kitti_motion(clip, index, RINGS)
        narrow = kitti_motion(clip, index, NARROW_RINGS)
        assert truth.trusted
        assert few.trusted
        assert apart(few, truth) < 0.05
        assert not narrow.trusted or apart(narrow, truth) < 0.12
        fooled.append(apart(kitti_motion(clip, index, NARROW_RINGS, naive), truth) > 0.2)
    assert any(fooled)  # the largest consensus alone follows the traffic


def test_a_stopped_car_among_departing_ones_is_static(clip):
    result = kitti_motion(clip, 54, RINGS)
    assert result.status is MotionStatus.STATIC
    assert result.distance < 0.05


def test_sift_on_all_beams_agrees_with_tracking(clip):
    sift = kitti_motion(clip, 33, range(64), PAPER)
    klt = kitti_motion(clip, 33, range(64))
    assert np.linalg.norm((sift.T_source_target - klt.T_source_target)[:3, 3]) < 0.05
