"""Forecasts by physics alone: what a network has to beat.

All take a history `xy` [...,H,2] in metres, one position each `dt` seconds, and give `steps`
positions [...,steps,2] ahead, from backward differences.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.forecasting.dynamics import rollout
from ros_xai.forecasting.kinematics import WALKING_PACE, wrap

Array = NDArray[np.float64]


def _last_motion(xy: Array, dt: float) -> tuple[Array, Array]:
    """The last two velocities [...,2], newest first."""
    return (xy[..., -1, :] - xy[..., -2, :]) / dt, (xy[..., -2, :] - xy[..., -3, :]) / dt


def constant_velocity(xy: Array, dt: float, steps: int) -> Array:
    """x + v t."""
    velocity, _ = _last_motion(xy, dt)
    t = dt * np.arange(1, steps + 1)[:, None]
    return xy[..., -1:, :] + velocity[..., None, :] * t


def constant_acceleration(xy: Array, dt: float, steps: int) -> Array:
    """x + v t + a t^2 / 2."""
    velocity, before = _last_motion(xy, dt)
    t = dt * np.arange(1, steps + 1)[:, None]
    acceleration = (velocity - before) / dt
    return constant_velocity(xy, dt, steps) + 0.5 * acceleration[..., None, :] * t**2


def constant_turn_rate(xy: Array, dt: float, steps: int) -> Array:
    """An arc at the last speed and turn rate; no turn at less than walking pace, where the
    direction of motion is noise."""
    return _arc(xy, dt, steps, accelerate=False)


def constant_turn_rate_and_acceleration(xy: Array, dt: float, steps: int) -> Array:
    """An arc at the last turn rate and change of speed."""
    return _arc(xy, dt, steps, accelerate=True)


def _arc(xy: Array, dt: float, steps: int, accelerate: bool) -> Array:
    velocity, before = _last_motion(xy, dt)
    speed = np.linalg.norm(velocity, axis=-1)
    heading = np.arctan2(velocity[..., 1], velocity[..., 0])
    turn = wrap(heading - np.arctan2(before[..., 1], before[..., 0])) / dt
    acceleration = (speed - np.linalg.norm(before, axis=-1)) / dt * accelerate
    control = np.stack([np.where(speed < WALKING_PACE, 0.0, turn), acceleration], axis=-1)
    initial = np.concatenate([xy[..., -1, :], heading[..., None], speed[..., None]], axis=-1)
    controls = np.broadcast_to(control[..., None, :], (*control.shape[:-1], steps, 2))
    states = rollout(torch.tensor(initial), torch.tensor(controls), dt)
    return states[..., :2].numpy()


PHYSICS: dict[str, Callable[[Array, float, int], Array]] = {
    "constant velocity": constant_velocity,
    "constant acceleration": constant_acceleration,
    "constant turn rate": constant_turn_rate,
    "constant turn rate and acceleration": constant_turn_rate_and_acceleration,
}


def physics_oracle(xy: Array, dt: float, truth: Array) -> Array:
    """Of the four physics forecasts the one nearest to the truth [...,T,2] in the least-squares
    sense, per agent: a bound that no physics model reaches without being told the future."""
    candidates = np.stack([model(xy, dt, truth.shape[-2]) for model in PHYSICS.values()])
    squared = ((candidates - truth) ** 2).sum(axis=(-2, -1))
    best = squared.argmin(axis=0)[None, ..., None, None]
    return np.take_along_axis(candidates, best, axis=0)[0]


def kalman_end_point(xy: Array, steps: int) -> Array:
    """Where a Kalman filter that knows only a mean velocity expects the agent [...,2] in `steps`.

    The difficulty of a future is its distance from this point: the ranking of Makansi et al.
    ("On Exposing the Challenging Long Tail in Future Prediction of Traffic Actors", ICCV 2021).
    Both axes alike: the velocity is the mean of the history's and is not corrected, only its
    variance shrinks as if it were measured; all variances begin at 1, process noise is 1e-5 and
    measurement noise 1e-4.
    """
    process_noise, measurement_noise = 1e-5, 1e-4
    velocity = (xy[..., -1, :] - xy[..., 0, :]) / (xy.shape[-2] - 1)
    estimate, variance, velocity_variance = xy[..., 0, :], 1.0, 1.0
    for measured in np.moveaxis(xy[..., 1:, :], -2, 0):
        variance += velocity_variance + process_noise
        velocity_variance += process_noise
        gain = variance / (variance + measurement_noise)
        estimate = estimate + velocity
        estimate = estimate + gain * (measured - estimate)
        variance *= 1 - gain
        velocity_variance *= measurement_noise / (velocity_variance + measurement_noise)
    return estimate + steps * velocity
