import numpy as np
import pytest

from ros_xai.core import camera, pointcloud

K = np.array([[100.0, 0, 49.5], [0, 100.0, 19.5], [0, 0, 1]])


def brute_force(points, height, width):
    image = np.zeros((height, width), np.float32)
    for x, y, z in points:
        if not np.isfinite([x, y, z]).all() or not 0.1 < z < 200:
            continue
        u, v = np.rint(100 * x / z + 49.5), np.rint(100 * y / z + 19.5)
        if 0 <= u < width and 0 <= v < height:
            cell = int(v), int(u)
            image[cell] = z if image[cell] == 0 else min(image[cell], z)
    return image


def test_nearest_point_wins_whatever_the_order():
    rng = np.random.default_rng(0)
    points = rng.uniform([-20, -8, -5], [20, 8, 60], (4000, 3)).astype(np.float32)
    points[::97] = np.nan
    points[5] = np.inf
    image = pointcloud.sparse_depth(points, K, 40, 100)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, brute_force(points, 40, 100))
    np.testing.assert_array_equal(image, pointcloud.sparse_depth(points[::-1], K, 40, 100))


def test_dense_depth_survives_the_round_trip():
    depth = np.random.default_rng(2).uniform(1, 80, (40, 100))
    points = camera.back_project(depth, K).reshape(-1, 3)
    np.testing.assert_allclose(pointcloud.sparse_depth(points, K, 40, 100), depth, rtol=1e-6)


def test_empty_cloud_gives_an_empty_image():
    assert not pointcloud.sparse_depth(np.zeros((0, 3)), K, 4, 6).any()


@pytest.mark.parametrize("beams", [4, 16, 64])
def test_rings_are_recovered_from_even_elevations(beams):
    elevations = np.deg2rad(np.linspace(2, -24.8, beams))
    azimuths = np.linspace(-np.pi, np.pi, 200)
    ring, azimuth = np.meshgrid(np.arange(beams), azimuths, indexing="ij")
    distance = np.random.default_rng(0).uniform(2, 70, ring.shape)
    e = elevations[ring]
    xyz = distance[..., None] * np.stack(
        [np.cos(e) * np.cos(azimuth), np.cos(e) * np.sin(azimuth), np.sin(e)], -1
    )
    found = pointcloud.rings_from_elevation(xyz.reshape(-1, 3), beams)
    np.testing.assert_array_equal(found, ring.ravel())


def test_points_that_are_not_finite_have_no_ring():
    points = np.array([[1, 0, 0.1], [np.nan, 0, 0], [1, 0, -0.1]])
    assert pointcloud.rings_from_elevation(points, 2).tolist() == [0, -1, 1]
    assert pointcloud.rings_from_elevation(points[1:2], 2).tolist() == [-1]


def test_keep_rings():
    np.testing.assert_array_equal(
        pointcloud.keep_rings(np.array([0, 8, 24, 9]), (8, 24)), [False, True, True, False]
    )
