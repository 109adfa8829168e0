"""Rigid transforms and rotations.

`T_a_b` is a 4x4 matrix that maps points of frame b into frame a. Quaternions are (x, y, z, w).
Vehicle and LiDAR frames follow REP-103: x forward, y left, z up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def pose(rotation: ArrayLike, translation: ArrayLike) -> Array:
    """The 4x4 transform of a rotation [3,3] and a translation [3] in metres."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation
    return transform


def invert(transform: ArrayLike) -> Array:
    """The inverse of a rigid transform [...,4,4], by transposition and not by elimination."""
    matrix = np.asarray(transform, dtype=np.float64)
    rotation = np.swapaxes(matrix[..., :3, :3], -1, -2)
    inverse = np.zeros_like(matrix)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, matrix[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def transform(T: ArrayLike, points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points [...,3] of frame b in frame a, for `T` = T_a_b [4,4]; keeps the points' dtype."""
    matrix = np.asarray(T, dtype=points.dtype)
    mapped: NDArray[np.floating] = points @ matrix[:3, :3].T + matrix[:3, 3]
    return mapped


def rotation_z(angle: float) -> Array:
    """Rotation [3,3] about z (up) by an angle in radians, counter-clockwise."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def yaw(T: ArrayLike) -> float:
    """Heading of the x axis in the parent's xy plane, radians in (-pi, pi]."""
    matrix = np.asarray(T)
    return float(np.arctan2(matrix[1, 0], matrix[0, 0]))


def rotation_from_quaternion(xyzw: ArrayLike) -> Array:
    """Rotation [3,3] of a quaternion (x, y, z, w), normalised here.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    q = np.asarray(xyzw, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if not np.isfinite(norm) or norm < 1e-12:
        raise ValueError(f"expected a finite non-zero quaternion (x, y, z, w); got {q.tolist()}")
    x, y, z, w = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: ArrayLike) -> Array:
    """Unit quaternion (x, y, z, w), w >= 0, of a rotation [3,3].

    The largest of the four components is computed first, so that none is divided by a small number
    (Shepperd, "Quaternion from rotation matrix", 1978).
    """
    m = np.asarray(rotation, dtype=np.float64)
    trace = float(np.trace(m))
    candidates = np.array([m[0, 0], m[1, 1], m[2, 2], trace])
    largest = int(np.argmax(candidates))
    q = np.empty(4)
    if largest == 3:
        q[3] = 1 + trace
        q[:3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q[i] = 1 - trace + 2 * m[i, i]
        q[j] = m[j, i] + m[i, j]
        q[k] = m[k, i] + m[i, k]
        q[3] = m[k, j] - m[j, k]
    q /= np.linalg.norm(q)
    return q if q[3] >= 0 else -q
