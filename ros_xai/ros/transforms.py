"""geometry_msgs/TransformStamped to and from 4x4 matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import ArrayLike, NDArray

from ros_xai.core.geometry import pose, quaternion_from_rotation, rotation_from_quaternion
from ros_xai.ros.errors import MessageError


def to_matrix(message: TransformStamped) -> NDArray[np.float64]:
    """T_parent_child [4,4], metres: maps points of `child_frame_id` into `header.frame_id`.

    Raises:
        MessageError: `bad_transform`, not finite, or the quaternion is not of length 1.
    """
    t, q = message.transform.translation, message.transform.rotation
    translation, rotation = np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w])
    # 1e-3 leaves room for float32 and for decimals typed by hand.
    if not np.isfinite(translation).all() or not abs(np.linalg.norm(rotation) - 1) < 1e-3:
        raise MessageError(
            "bad_transform",
            f"expected a finite translation and a unit quaternion (x, y, z, w) from "
            f"{message.child_frame_id!r} to {message.header.frame_id!r}; "
            f"got {translation.tolist()} and {rotation.tolist()}",
        )
    return pose(rotation_from_quaternion(rotation), translation)


def to_message(T_parent_child: ArrayLike, parent: str, child: str, stamp: Any = None) -> Any:
    """The TransformStamped of T_parent_child [4,4]."""
    T = np.asarray(T_parent_child, dtype=np.float64)
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    if stamp is not None:
        message.header.stamp = stamp
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = T[:3, 3].tolist()
    q = quaternion_from_rotation(T[:3, :3]).tolist()
    rotation.x, rotation.y, rotation.z, rotation.w = q
    return message
