"""Static transforms, as the distribution's tf2_ros: those of a calibration, valid at any time.

Dynamic transforms (/tf) are not kept: no node interpolates a moving frame. Lookups never wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile

from ros_xai.core.geometry import invert
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError
from ros_xai.ros.transforms import to_matrix, to_message


class TransformException(Exception):
    """A transform that cannot be had."""


class LookupException(TransformException):
    """A frame is not known."""


class ConnectivityException(TransformException):
    """Two frames are known, but belong to different trees."""


class Buffer:
    """The tree of static transforms; the newest of a child frame counts."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, NDArray[np.float64]]] = {}
        self._lock = threading.Lock()

    def set_transform_static(
        self, transform: TransformStamped, authority: str = "default_authority"
    ) -> None:
        """Adds a transform; `authority` is who says so, for the texts of errors.

        Raises:
            MessageError: `bad_transform`, not finite or not a rotation, a frame without a name, or
                one that would become its own ancestor.
        """
        parent, child = _name(transform.header.frame_id), _name(transform.child_frame_id)
        T_parent_child = to_matrix(transform)
        with self._lock:
            ancestors = [frame for frame, _ in self._path(parent)]
            if not parent or not child or child in ancestors:
                raise MessageError(
                    "bad_transform",
                    f"expected frames of a tree from {authority}; got child {child!r} of "
                    f"{parent!r}, whose line is {' < '.join(ancestors)}",
                )
            self._parents[child] = (parent, T_parent_child)

    def _path(self, frame: str) -> list[tuple[str, NDArray[np.float64]]]:
        """From the frame to its root: every frame a of the way with T_a_frame."""
        path = [(frame, np.eye(4))]
        while frame in self._parents:
            frame, T_parent_child = self._parents[frame]
            path.append((frame, T_parent_child @ path[-1][1]))
        return path

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any) -> Any:
        """The TransformStamped that maps points of `source_frame` into `target_frame`.

        Raises:
            LookupException: a frame is unknown. ConnectivityException: the frames share no root.
        """
        target, source = _name(target_frame), _name(source_frame)
        with self._lock:
            known = {*self._parents, *(parent for parent, _ in self._parents.values())}
            to_target, to_source = self._path(target)[-1], self._path(source)[-1]
        for frame in (target, source):
            if frame not in known:
                raise LookupException(
                    f"frame {frame!r} is unknown; known: {', '.join(sorted(known)) or 'none'}"
                )
        if to_target[0] != to_source[0]:
            raise ConnectivityException(
                f"{target!r} and {source!r} share no root: {to_target[0]!r}, {to_source[0]!r}"
            )
        return to_message(invert(to_target[1]) @ to_source[1], target, source)

    def can_transform(self, target_frame: str, source_frame: str, time: Any) -> bool:
        try:
            self.lookup_transform(target_frame, source_frame, time)
        except TransformException:
            return False
        return True


def _name(frame: str) -> str:
    return frame.removeprefix("/")


def _tf_message() -> Any:
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise RuntimeError(
            "/tf_static needs the package tf2_msgs, which is not installed; install it with ROS 2, "
            "or give the transform as a parameter of the node"
        ) from error
    return TFMessage


def _latched(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TransformListener:
    """Fills a buffer from /tf_static; what cannot be used is logged and left out.

    Raises:
        RuntimeError: tf2_msgs is not installed.
    """

    def __init__(self, buffer: Buffer, node: Any) -> None:
        self.buffer, self.node = buffer, node
        self._type = _tf_message()
        # raw: bytes that are cut off must not end the executor
        self.tf_static_sub = node.create_subscription(
            self._type, "/tf_static", self._on_data, _latched(100), raw=True
        )

    def _on_data(self, data: bytes) -> None:
        try:
            transforms = decode(data, self._type).transforms
        except MessageError as error:
            self._warn(error)
            return
        for transform in transforms:
            try:
                self.buffer.set_transform_static(transform, "/tf_static")
            except MessageError as error:
                self._warn(error)

    def _warn(self, error: MessageError) -> None:
        self.node.get_logger().warning(f"/tf_static: {error}")


class StaticTransformBroadcaster:
    """Publishes static transforms, latched; the newest of a child frame counts.

    Raises:
        RuntimeError: tf2_msgs is not installed.
    """

    def __init__(self, node: Any) -> None:
        self._type = _tf_message()
        self._transforms: dict[str, TransformStamped] = {}
        self.pub_tf = node.create_publisher(self._type, "/tf_static", _latched(1))

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        transforms = [transform] if isinstance(transform, TransformStamped) else transform
        self._transforms.update((t.child_frame_id, t) for t in transforms)
        self.pub_tf.publish(self._type(transforms=list(self._transforms.values())))
