"""What is known of an agent's motion at one instant, from its past alone.

Central differences would put x(t+1) into the velocity at t and x(t+2) into the acceleration: a
forecaster would be told a second of the future that it has to predict. All differences here are
backward.
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
