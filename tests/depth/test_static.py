"""Pixels that may move like the static world: a plane seen twice, and what moves on it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ros_xai.core.geometry import pose
from ros_xai.depth.static import static_mask

K = np.array([[700.0, 0, 320], [0, 700, 120], [0, 0, 1]])
DEPTH = 24.0
MOVER = (slice(60, 160), slice(380, 500))  # in the target


def texture(seed: int) -> np.ndarray:
    """Smooth random detail uint8 [240, 640] at several sizes."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((240 // s, 640 // s)), (640, 240)) for s in (4, 8, 16)]
    return (255 * np.mean(layers, axis=0)).astype(np.uint8)


def wall_points() -> np.ndarray:
    u, v = np.meshgrid(np.arange(20, 620, 3), np.arange(30, 220, 10))
    return DEPTH * np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(K).T


def seen_after(image: np.ndarray, ahead: float) -> np.ndarray:
    """The wall z = DEPTH after the camera drove ``ahead`` metres."""
    scale = DEPTH / (DEPTH - ahead)
    grown = np.array([[scale, 0, (1 - scale) * 320], [0, scale, (1 - scale) * 120]])
    return cv2.warpAffine(image, grown, image.shape[::-1])


@pytest.mark.parametrize("ahead", [0.8, 3.0])  # of points 2 m away, or past them
def test_a_wall_is_static_under_the_true_motion_only(ahead):
    target = texture(0)
    source = seen_after(target, ahead)
    inner = (slice(60, 180), slice(160, 480))  # what the source still sees
    T = pose(np.eye(3), [0, 0, -ahead])
    assert static_mask(target, source, wall_points(), K, T)[inner].mean() > 0.97
    backwards = pose(np.eye(3), [0, 0, ahead])
    assert static_mask(target, source, wall_points(), K, backwards)[inner].mean() < 0.2


def test_what_leaves_its_epipolar_line_is_no_static_pixel():
    target = texture(0)
    source = seen_after(target, 0.8)
    source[MOVER] = np.roll(source, 8, axis=0)[MOVER]
    mask = static_mask(target, source, np.empty((0, 3)), K, pose(np.eye(3), [0, 0, -0.8]))
    assert mask[70:150, 390:490].mean() < 0.1
    assert mask[60:180, 160:360].mean() > 0.97


def test_a_mover_on_its_epipolar_line_is_found_by_its_returns():
    target = texture(0)
    source = seen_after(target, 0.8)
    # As if it were at half the depth: possible for something static, but not at its returns' depth.
    source[MOVER] = seen_after(target, 4.8)[MOVER]
    T = pose(np.eye(3), [0, 0, -0.8])
    assert static_mask(target, source, np.empty((0, 3)), K, T)[80:140, 440:480].mean() > 0.8
    mask = static_mask(target, source, wall_points(), K, T)
    assert mask[80:140, 440:480].mean() < 0.1
    assert mask[60:180, 160:340].mean() > 0.97
