"""The road plane: found from few returns, among obstacles, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.core.camera import pixel_rays
from ros_xai.depth.fill import column_fill
from ros_xai.depth.road import NOMINAL, Road, fit_road

K = np.array([[370.0, 0, 319.5], [0, 370, 95.5], [0, 0, 1]])
SHAPE = (192, 640)


def beams_on(road: Road, rows=(115, 140, 170), noise: float = 0.0) -> np.ndarray:
    disparity = road.disparity(K, *SHAPE)
    sparse = np.zeros(SHAPE, dtype=np.float32)
    rng = np.random.default_rng(0)
    for row in rows:
        sparse[row] = 1 / disparity[row] + rng.normal(0, noise, SHAPE[1])
    return sparse


def test_disparity_is_that_of_points_on_the_plane():
    road = Road(0.02, -0.05, 1.5)
    disparity = road.disparity(K, *SHAPE)
    below = disparity > 0.01
    points = pixel_rays(K, *SHAPE)[below] / disparity[below][:, None]
    plane = road.side * points[:, 0] + road.forward * points[:, 2] + road.height
    assert np.allclose(points[:, 1], plane, atol=1e-4)
    assert not disparity[:60].any()


@given(st.floats(-0.03, 0.03), st.floats(-0.08, 0.08), st.floats(1.1, 2.6))
def test_a_clean_road_is_recovered(side, forward, height):
    found = fit_road(beams_on(Road(side, forward, height), (130, 150, 180)), K)
    assert found is not None
    assert (found.side, found.forward) == pytest.approx((side, forward), abs=1e-3)
    assert found.height == pytest.approx(height, abs=0.01)


def test_cars_and_noise_do_not_move_the_road():
    sparse = beams_on(NOMINAL, noise=0.02)
    sparse[:, 100:330] = np.where(sparse[:, 100:330] > 0, 6.0, 0)  # a wall across the lane
    found = fit_road(sparse, K)
    assert found is not None
    assert found.height == pytest.approx(1.65, abs=0.03)
    assert abs(found.forward) < 0.01


def test_no_road_among_few_or_high_returns():
    assert fit_road(np.zeros(SHAPE, dtype=np.float32), K) is None
    assert fit_road(beams_on(NOMINAL, ()), K) is None
    high = np.zeros(SHAPE, dtype=np.float32)
    high[60] = 12.0
    assert fit_road(high, K) is None


@pytest.mark.parametrize("plane", [Road(0, -0.2, 1.6), Road(0.1, 0, 1.65), Road(0, 0, 4.0)])
def test_a_plane_that_no_car_stands_on_is_no_road(plane):
    assert fit_road(beams_on(plane, (130, 150, 180)), K) is None


def test_the_same_returns_give_the_same_road():
    sparse = beams_on(NOMINAL, noise=0.05)
    assert fit_road(sparse, K) == fit_road(sparse, K)


def test_a_column_follows_the_road_to_the_foot_of_the_obstacle():
    """Lower beam on the road, upper beam on a wall 10 m ahead: an L, not a slope."""
    plane = NOMINAL.disparity(K, *SHAPE)
    wall = np.float32(1 / 10)
    truth = np.maximum(plane, wall)
    sparse = np.zeros(SHAPE, dtype=np.float32)
    sparse[[100, 180]] = 1 / truth[[100, 180]]
    filled = column_fill(sparse, road=plane).disparity
    assert np.allclose(filled[100:181], truth[100:181], rtol=1e-5)
    linear = column_fill(sparse).disparity
    assert np.abs(linear - truth)[100:181].max() > 0.02


def test_below_the_last_beam_the_road_comes_nearer():
    plane = NOMINAL.disparity(K, *SHAPE)
    filled = column_fill(beams_on(NOMINAL), road=plane).disparity
    assert np.allclose(filled[115:], plane[115:], rtol=1e-4)
