import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.core import camera

K = np.array([[120.0, 0, 79.5], [0, 110.0, 47.5], [0, 0, 1]])


def test_projection_agrees_with_opencv():
    points = np.random.default_rng(0).uniform([-5, -2, 1], [5, 2, 50], (100, 3))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, None)
    np.testing.assert_allclose(camera.project(points, K), expected[:, 0], atol=1e-9)


def test_back_projection_is_undone_by_projection():
    depth = np.random.default_rng(1).uniform(1, 80, (96, 160))
    points = camera.back_project(depth, K)
    np.testing.assert_allclose(points[..., 2], depth)
    u, v = np.meshgrid(np.arange(160), np.arange(96))
    np.testing.assert_allclose(
        camera.project(points.reshape(-1, 3), K), np.stack([u.ravel(), v.ravel()], 1), atol=1e-9
    )


@given(st.floats(0.1, 4), st.floats(0.1, 4), st.floats(-0.5, 159.5), st.floats(-0.5, 95.5))
def test_scaled_intrinsics_move_pixels_about_pixel_edges(scale_x, scale_y, u, v):
    ray = np.linalg.inv(K) @ [u, v, 1]
    moved = camera.project(ray[None], camera.scale_intrinsics(K, scale_x, scale_y))[0]
    np.testing.assert_allclose(
        moved, [(u + 0.5) * scale_x - 0.5, (v + 0.5) * scale_y - 0.5], atol=1e-9
    )
