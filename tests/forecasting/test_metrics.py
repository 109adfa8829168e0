"""Against worked examples, and nuscenes-devkit where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ros_xai.forecasting.metrics import (
    convergence_to_range,
    dispersion,
    hardest,
    min_ade_k,
    min_fde_k,
    miss_rate_k,
    off_road_rate,
)

T = np.arange(1, 13) * 0.5
STRAIGHT = np.stack([5 * T, 0 * T], axis=1)
MODES = np.stack([np.stack([a * T, b * T], axis=1) for a, b in [(5, 0.5), (4, 0), (5, 0.05)]])
PROBABILITIES = np.array([0.5, 0.3, 0.2])
POINTS = np.array([(0, 0), (0.1, 0), (0.5, 0), (2, 0), (3, 1.0)])

finite = st.floats(-100, 100)


def test_the_best_of_the_k_likeliest_modes() -> None:
    ade = [float(min_ade_k(MODES, PROBABILITIES, STRAIGHT, k)) for k in (1, 2, 3)]
    fde = [float(min_fde_k(MODES, PROBABILITIES, STRAIGHT, k)) for k in (1, 2, 3)]
    miss = [float(miss_rate_k(MODES, PROBABILITIES, STRAIGHT, k)) for k in (1, 2, 3)]
    assert ade == pytest.approx([1.625, 1.625, 0.1625])
    assert fde == pytest.approx([3, 3, 0.3])
    assert miss == [1, 1, 0]


def test_asking_for_more_modes_than_there_are_takes_all() -> None:
    assert min_fde_k(MODES, PROBABILITIES, STRAIGHT, 10) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="at least 1"):
        min_fde_k(MODES, PROBABILITIES, STRAIGHT, 0)


def test_an_error_of_exactly_the_tolerance_is_a_miss() -> None:
    off = STRAIGHT[None] + [0.0, 2.0]
    assert miss_rate_k(off, np.ones(1), STRAIGHT, 1) == 1
    assert miss_rate_k(off - [0.0, 1e-9], np.ones(1), STRAIGHT, 1) == 0


def test_batches_are_scored_like_single_forecasts() -> None:
    rng = np.random.default_rng(0)
    modes, truth = rng.normal(size=(4, 3, 6, 2)), rng.normal(size=(4, 6, 2))
    probabilities = rng.dirichlet(np.ones(3), size=4)
    for metric in (min_ade_k, min_fde_k, miss_rate_k):
        single = [metric(m, p, t, 2) for m, p, t in zip(modes, probabilities, truth)]
        assert metric(modes, probabilities, truth, 2) == pytest.approx(single)


def test_displacement_and_miss_rates_agree_with_the_nuscenes_devkit() -> None:
    devkit = pytest.importorskip(
        "nuscenes.eval.prediction.metrics", reason="nuscenes-devkit is not installed"
    )
    rng = np.random.default_rng(1)
    modes = rng.normal(scale=3, size=(7, 5, 12, 2)).cumsum(axis=2)
    truth = rng.normal(scale=3, size=(7, 12, 2)).cumsum(axis=1)
    probabilities = rng.dirichlet(np.ones(5), size=7)
    for i in range(7):
        stacked = np.broadcast_to(truth[i], (5, 12, 2))
        theirs = (stacked, modes[i], probabilities[i])
        for k in (1, 3, 5):
            ours = (modes[i], probabilities[i], truth[i], k)
            assert min_ade_k(*ours) == pytest.approx(devkit.min_ade_k(*theirs)[0, k - 1])
            assert min_fde_k(*ours) == pytest.approx(devkit.min_fde_k(*theirs)[0, k - 1])
            for tolerance in (2.0, 8.0):
                missed = devkit.miss_rate_top_k(*theirs, tolerance=tolerance)[0, k - 1]
                assert miss_rate_k(*ours, tolerance=tolerance) == missed


def test_off_road_modes_are_counted_whatever_their_probability() -> None:
    road = np.zeros((20, 80), dtype=bool)
    road[8:12] = True  # 2 m wide, y from -1 to 1, x from -2 to 38
    on_road = np.stack([3 * T, 0 * T], axis=1)
    leaves = np.stack([3 * T, 0.5 * T], axis=1)
    beyond_the_map = np.stack([8 * T, 0 * T], axis=1)
    modes = np.stack([on_road, leaves, beyond_the_map, on_road])
    assert off_road_rate(modes, road, np.array([-2.0, -5.0]), 0.5) == 0.5


def test_a_mode_that_crosses_a_gap_between_its_steps_is_off_the_road() -> None:
    road = np.ones((10, 100), dtype=bool)
    road[:, 45:47] = False  # x from 45 to 47, between the steps at 40 and 50
    fast = np.stack([20 * T, 0 * T], axis=1)[:4]
    assert off_road_rate(np.stack([fast, fast - [30, 0]]), road, np.array([0.0, -5.0]), 1.0) == 0.5


def test_a_parked_mode_is_judged_where_it_stands() -> None:
    road = np.array([[True, False]])
    modes = np.stack([np.full((12, 2), [x, 0.5]) for x in (0.5, 1.5)])
    assert off_road_rate(modes, road, np.zeros(2), 1.0) == 0.5


def test_dispersion_and_convergence_of_a_worked_example() -> None:
    assert dispersion(POINTS) == pytest.approx(0.47323963, abs=1e-8)
    steps = [int(convergence_to_range(POINTS, np.zeros(2), radius)) for radius in (0.2, 1, 5)]
    assert steps == [2, 3, 5]


def test_convergence_stops_at_the_first_forecast_out_of_range() -> None:
    assert convergence_to_range(POINTS[::-1], np.zeros(2), 1.0) == 0
    back_again = np.array([(0.0, 0.0), (3.0, 0.0), (0.0, 0.0)])
    assert convergence_to_range(back_again, np.zeros(2), 1.0) == 1


@given(arrays(float, (6, 2), elements=finite), arrays(float, 2, elements=finite), finite)
def test_stability_does_not_depend_on_the_frame(points: np.ndarray, shift, angle: float) -> None:
    c, s = np.cos(angle), np.sin(angle)
    moved = points @ np.array([[c, -s], [s, c]]) + shift
    assert dispersion(moved) == pytest.approx(dispersion(points), abs=1e-6)


@given(arrays(float, (8, 2), elements=finite), st.floats(0, 50), st.floats(0, 50))
def test_a_wider_range_never_converges_later(points: np.ndarray, a: float, b: float) -> None:
    steps = [convergence_to_range(points, np.zeros(2), radius) for radius in sorted((a, b))]
    assert 0 <= steps[0] <= steps[1] <= 8


def test_the_hardest_are_the_largest_and_never_none() -> None:
    difficulty = np.array([3.0, 9.0, 1.0, 7.0])
    assert set(hardest(difficulty, 50)) == {1, 3}
    assert list(hardest(difficulty, 1)) == [1]
