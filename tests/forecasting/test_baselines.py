"""Physics against closed forms, the ranking filter against a worked example."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.forecasting.baselines import (
    PHYSICS,
    constant_acceleration,
    constant_turn_rate,
    constant_turn_rate_and_acceleration,
    constant_velocity,
    kalman_end_point,
    physics_oracle,
)

PAST = np.arange(-4, 1) * 0.5
FUTURE = np.arange(1, 13) * 0.5


def _along(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=-1)


def test_constant_velocity_goes_straight_on() -> None:
    forecast = constant_velocity(_along(10 * PAST, 0 * PAST), 0.5, 12)
    assert forecast[-1] == pytest.approx([60, 0])
    assert forecast == pytest.approx(_along(10 * FUTURE, 0 * FUTURE))


def test_constant_acceleration_goes_on_from_the_last_differences() -> None:
    # Steps of 4 and 4.5 m: speeds 8 and 9 m/s, acceleration 2 m/s^2.
    past = _along(np.array([-11.5, -8, -8.5, -4.5, 0.0]), 0 * PAST)
    assert constant_acceleration(past, 0.5, 12)[-1] == pytest.approx([9 * 6 + 36, 0])


def test_constant_turn_rate_stays_on_its_circle() -> None:
    radius, rate = 20.0, 0.3
    circle = lambda t: _along(radius * np.sin(rate * t), radius * (1 - np.cos(rate * t)))  # noqa: E731
    forecast = constant_turn_rate(circle(PAST), 0.5, 12)
    # The heading at the last position is taken for that of the last chord, half a step before.
    turned = np.diff(np.arctan2(*np.diff(forecast, axis=0).T[::-1]))
    assert turned == pytest.approx(rate * 0.5)
    chord = 2 * radius * np.sin(rate * 0.25)
    assert np.linalg.norm(np.diff(forecast, axis=0), axis=1) == pytest.approx(
        chord * np.sinc(rate * 0.25 / np.pi)
    )


def test_below_walking_pace_noise_is_not_taken_for_a_turn() -> None:
    past = _along(np.array([0, 0, 0, 0.1, 0.1]), np.array([0, 0, 0, 0, 0.1]))
    for model in (constant_turn_rate, constant_turn_rate_and_acceleration):
        forecast = model(past, 0.5, 12)
        assert forecast[:, 0] == pytest.approx(0.1)


def test_all_models_agree_on_a_steady_straight_drive_in_any_direction() -> None:
    for angle in (0.0, 2.0, 3.1, -3.1):
        direction = np.array([np.cos(angle), np.sin(angle)])
        for model in PHYSICS.values():
            forecast = model(7 * PAST[:, None] * direction, 0.5, 12)
            assert forecast == pytest.approx(7 * FUTURE[:, None] * direction, abs=1e-9)


def test_the_oracle_is_the_best_model_of_each_agent() -> None:
    rng = np.random.default_rng(0)
    past = rng.normal(size=(30, 5, 2)).cumsum(axis=1) * 2
    truth = rng.normal(size=(30, 12, 2)).cumsum(axis=1) * 2 + past[:, -1:]
    error = lambda p: np.linalg.norm(p - truth, axis=(-2, -1))  # noqa: E731
    best = np.min([error(model(past, 0.5, 12)) for model in PHYSICS.values()], axis=0)
    assert error(physics_oracle(past, 0.5, truth)) == pytest.approx(best)


def test_the_ranking_filter_of_a_worked_example() -> None:
    past = np.array([(0, 0), (1, 0.1), (2.1, 0.1), (3, 0.4), (4.2, 0.5)])
    assert kalman_end_point(past, 12) == pytest.approx([16.7552, 1.98365], abs=1e-4)
    both = kalman_end_point(np.stack([past, past + 7]), 12)
    assert both[1] - both[0] == pytest.approx([7, 7])
