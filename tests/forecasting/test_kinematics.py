"""Backward differences against polynomials, and no look into the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.forecasting.kinematics import (
    causal_states,
    latest_motion,
    motion_heading,
    steady_past,
    wrap,
)

TIME = np.arange(5) * 0.5


def test_steady_motion_is_measured_exactly() -> None:
    xy = np.stack([3 * TIME, -4 * TIME], axis=-1)
    states = causal_states(xy, np.full(5, 0.7), 0.5)
    assert states[:, 2:4] == pytest.approx(np.tile([3.0, -4.0], (5, 1)))
    assert states[:, 4:6] == pytest.approx(0)
    assert states[:, 6] == pytest.approx(0.7)
    assert states[:, 7] == pytest.approx(0)


def test_velocity_and_acceleration_are_of_the_steps_just_done() -> None:
    # 0, 5, 10, 15, 20 m and then braking: at the present nothing of it is known.
    x = np.array([0, 5, 10, 15, 20.0])
    states = causal_states(np.stack([x, 0 * x], axis=-1), 0 * x, 0.5)
    assert states[-1, 2:6] == pytest.approx([10, 0, 0, 0])
    x = np.array([0, 0, 1, 3, 6.0])
    states = causal_states(np.stack([x, 0 * x], axis=-1), 0 * x, 0.5)
    assert states[:, 2] == pytest.approx([0, 0, 2, 4, 6])
    assert states[:, 4] == pytest.approx([4, 4, 4, 4, 4])


def test_the_heading_rate_does_not_jump_where_angles_wrap() -> None:
    yaw = wrap(np.pi - 0.2 + 0.1 * np.arange(5))
    states = causal_states(np.zeros((5, 2)), yaw, 0.5)
    assert states[:, 7] == pytest.approx(0.2)


def test_slow_agents_head_where_their_body_points() -> None:
    velocity = np.array([[0.0, 0.9], [0.0, 1.1]])
    assert motion_heading(velocity, np.zeros(2)) == pytest.approx([0, np.pi / 2])


@given(st.floats(-50, 50), st.integers(-3, 3))
def test_wrapped_angles_are_the_same_direction(angle: float, turns: int) -> None:
    wrapped = wrap(np.array(angle + 2 * np.pi * turns))
    assert -np.pi <= wrapped < np.pi
    assert np.exp(1j * wrapped) == pytest.approx(np.exp(1j * angle), abs=1e-9)


def test_the_latest_motion_is_that_of_the_parabola_nearest_to_noisy_samples() -> None:
    time = np.arange(-10, 1) * 0.1
    noise = np.random.default_rng(0).normal(scale=0.05, size=(3, 11, 2))
    xy = np.stack([8 * time - 1.5 * time**2, 0.5 * time], axis=-1) + noise
    velocity, acceleration = latest_motion(xy, 0.1)
    for agent in range(3):
        for axis in range(2):
            half, slope, _ = np.polyfit(time, xy[agent, :, axis], 2)
            assert velocity[agent, axis] == pytest.approx(slope, abs=1e-9)
            assert acceleration[agent, axis] == pytest.approx(2 * half, abs=1e-9)
    xy[1, 3] = np.nan
    known = np.isfinite(np.concatenate(latest_motion(xy, 0.1), axis=-1)).all(axis=1)
    assert known.tolist() == [True, False, True]


def test_a_steady_past_has_the_motion_it_was_made_of() -> None:
    velocity, acceleration = np.array([[6.0, -2.0]]), np.array([[-1.0, 0.5]])
    states = causal_states(steady_past(velocity, acceleration, 0.5), np.zeros((1, 3)), 0.5)
    assert states[0, -1, :6] == pytest.approx([0, 0, 6, -2, -1, 0.5])
