"""What is known of an agent's motion at one instant, from its past alone.

Central differences would put x(t+1) into the velocity at t and x(t+2) into the acceleration: a
forecaster would be told a second of the future that it has to predict. All differences here are
backward, and fits are to samples up to the present.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Below this speed the direction of motion is that of the noise.
WALKING_PACE = 1.0  # m/s


def wrap(angle: Array) -> Array:
    """Angles in radians, wrapped to [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def causal_states(xy: Array, yaw: Array, dt: float) -> Array:
    """States [...,H,8] of positions [...,H,2] m and headings [...,H] rad, one each `dt` seconds.

    A state is (x, y, vx, vy, ax, ay, heading, heading rate) in m, m/s, m/s^2, rad, rad/s, in the
    frame of the positions. Where there is no earlier sample the next difference is repeated.
    """
    velocity = _backward_difference(xy, dt)
    acceleration = _backward_difference(velocity, dt, first=2)
    rate = _backward_difference(np.unwrap(yaw, axis=-1)[..., None], dt)
    return np.concatenate([xy, velocity, acceleration, yaw[..., None], rate], axis=-1)


def latest_motion(recent: Array, dt: float) -> tuple[Array, Array]:
    """Velocities and accelerations [...,2] at the last of the positions `recent` [...,R,2] m, one
    each `dt` seconds: those of the parabola nearest to all of them; NaN where a sample is missing.

    A backward difference is the velocity half its span ago, which for somebody who brakes or
    pulls away is metres off after six seconds; the parabola's is of the present.
    """
    time = dt * np.arange(1 - recent.shape[-2], 1)
    fit = np.linalg.pinv(np.stack([np.ones_like(time), time, time**2 / 2], axis=-1))
    _, velocity, acceleration = np.moveaxis(fit @ recent, -2, 0)
    return velocity, acceleration


def steady_past(velocity: Array, acceleration: Array, dt: float) -> Array:
    """Positions [...,3,2], the last at the origin, whose backward differences over `dt` are the
    velocity and acceleration [...,2]."""
    before = -velocity * dt
    return np.stack([before - (velocity - acceleration * dt) * dt, before, 0 * before], axis=-2)


def _backward_difference(values: Array, dt: float, first: int = 1) -> Array:
    """Differences along axis -2 over dt; those before `first` repeat the one at `first`."""
    difference = np.diff(values, axis=-2, prepend=values[..., :1, :]) / dt
    difference[..., :first, :] = difference[..., first : first + 1, :]
    return difference


def motion_heading(velocity: Array, yaw: Array) -> Array:
    """Direction of motion [...] in radians: of the velocity [...,2], or at less than walking pace
    the body's heading [...]."""
    speed = np.linalg.norm(velocity, axis=-1)
    return np.where(speed < WALKING_PACE, yaw, np.arctan2(velocity[..., 1], velocity[..., 0]))
