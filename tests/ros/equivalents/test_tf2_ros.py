"""What the distribution's tf2_ros and our equivalent both promise, and what ours refuses."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time as ClockTime

from ros_xai.core.geometry import invert, pose, rotation_from_quaternion, rotation_z
from ros_xai.ros import compat, transforms
from ros_xai.ros.errors import MessageError

# Optical axes (right, down, forward) of a camera that looks along x of the vehicle.
T_BASE_CAMERA = pose([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [1.5, 0.1, 1.2])
T_BASE_LIDAR = pose(rotation_z(0.3), [0.5, 0, 1.8])


def calibrated(module: Any) -> Any:
    buffer = module.Buffer()
    for child, T in (("camera", T_BASE_CAMERA), ("lidar", T_BASE_LIDAR)):
        buffer.set_transform_static(transforms.to_message(T, "base_link", child), "test")
    buffer.set_transform_static(transforms.to_message(np.eye(4), "map", "elsewhere"), "test")
    return buffer


@pytest.mark.parametrize(
    ("target", "source", "expected"),
    [
        ("base_link", "lidar", T_BASE_LIDAR),
        ("lidar", "base_link", invert(T_BASE_LIDAR)),
        ("camera", "lidar", np.linalg.inv(T_BASE_CAMERA) @ T_BASE_LIDAR),
        ("lidar", "lidar", np.eye(4)),
    ],
)
def test_static_transforms_are_chained(
    tf2_ros: Any, target: str, source: str, expected: Any
) -> None:
    found = calibrated(tf2_ros).lookup_transform(target, source, ClockTime())
    assert (found.header.frame_id, found.child_frame_id) == (target, source)
    np.testing.assert_allclose(transforms.to_matrix(found), expected, atol=1e-12)
    assert calibrated(tf2_ros).can_transform(target, source, ClockTime())


def test_unknown_frames_and_separate_trees(tf2_ros: Any) -> None:
    buffer = calibrated(tf2_ros)
    with pytest.raises(tf2_ros.LookupException, match="radar"):
        buffer.lookup_transform("camera", "radar", ClockTime())
    with pytest.raises(tf2_ros.ConnectivityException):
        buffer.lookup_transform("camera", "elsewhere", ClockTime())
    assert not buffer.can_transform("camera", "radar", ClockTime())
    assert issubclass(tf2_ros.LookupException, tf2_ros.TransformException)


def test_the_newest_static_transform_counts(tf2_ros: Any) -> None:
    buffer = calibrated(tf2_ros)
    moved = pose(np.eye(3), [9.0, 0, 0])
    buffer.set_transform_static(transforms.to_message(moved, "base_link", "lidar"), "test")
    found = buffer.lookup_transform("base_link", "lidar", ClockTime())
    np.testing.assert_allclose(transforms.to_matrix(found), moved)


def test_live_transforms_arrive_or_say_what_is_missing(tf2_ros: Any, ros_context: Any) -> None:
    node = Node("transforms", context=ros_context)
    if not compat.LIVE_TF:
        for make in (
            tf2_ros.StaticTransformBroadcaster,
            lambda n: tf2_ros.TransformListener({}, n),
        ):
            with pytest.raises(RuntimeError, match="tf2_msgs, which is not installed"):
                make(node)
        node.destroy_node()
        return
    buffer = tf2_ros.Buffer()
    broadcaster = tf2_ros.StaticTransformBroadcaster(node)
    broadcaster.sendTransform(transforms.to_message(T_BASE_LIDAR, "base_link", "lidar"))
    broadcaster.sendTransform([transforms.to_message(T_BASE_CAMERA, "base_link", "camera")])
    listener = tf2_ros.TransformListener(buffer, node)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    for _ in range(100):
        if buffer.can_transform("camera", "lidar", ClockTime()):
            break
        executor.spin_once(timeout_sec=0.1)
    found = buffer.lookup_transform("camera", "lidar", ClockTime())
    expected = np.linalg.inv(T_BASE_CAMERA) @ T_BASE_LIDAR
    np.testing.assert_allclose(transforms.to_matrix(found), expected, atol=1e-12)
    del listener
    node.destroy_node()


# Only of ours: what cannot be used is refused with a reason.


@pytest.mark.parametrize(
    ("parent", "child"), [("", "lidar"), ("base_link", ""), ("a", "a"), ("camera", "base_link")]
)
def test_frames_must_form_a_tree(parent: str, child: str) -> None:
    ours = importlib.import_module("ros_xai.ros.equivalents.tf2_ros")
    with pytest.raises(MessageError) as caught:
        calibrated(ours).set_transform_static(transforms.to_message(np.eye(4), parent, child))
    assert caught.value.reason == "bad_transform"


def test_one_bad_transform_does_not_cost_the_others_of_its_message(monkeypatch: Any) -> None:
    ours = importlib.import_module("ros_xai.ros.equivalents.tf2_ros")
    bad = transforms.to_message(np.eye(4), "base_link", "radar")
    bad.transform.rotation.w = 0.0
    good = transforms.to_message(T_BASE_LIDAR, "base_link", "lidar")
    received = SimpleNamespace(transforms=[bad, good])
    monkeypatch.setattr(ours, "_tf_message", lambda: SimpleNamespace)
    monkeypatch.setattr(ours, "decode", lambda data, message_type: received)
    node, buffer = Mock(), ours.Buffer()
    ours.TransformListener(buffer, node)
    node.create_subscription.call_args.args[2](b"")
    found = buffer.lookup_transform("base_link", "lidar", ClockTime())
    np.testing.assert_allclose(transforms.to_matrix(found), T_BASE_LIDAR, atol=1e-12)
    assert not buffer.can_transform("base_link", "radar", ClockTime())
    (warning,) = node.get_logger().warning.call_args.args
    assert "'radar'" in warning


@pytest.mark.parametrize(
    ("name", "value"), [("x", float("nan")), ("w", 0.0), ("w", 2.0), ("z", float("inf"))]
)
def test_transforms_that_are_not_rigid_are_refused(name: str, value: float) -> None:
    message = transforms.to_message(np.eye(4), "base_link", "lidar")
    setattr(message.transform.rotation, name, value)
    with pytest.raises(MessageError, match="unit quaternion") as caught:
        transforms.to_matrix(message)
    assert caught.value.reason == "bad_transform"


def test_matrices_of_transforms_map_the_child_into_the_parent() -> None:
    message = transforms.to_message(np.eye(4), "base_link", "lidar")
    message.transform.rotation.z = message.transform.rotation.w = np.sqrt(0.5)
    message.transform.translation.x = 10.0
    ahead_of_lidar = transforms.to_matrix(message) @ [1, 0, 0, 1]
    np.testing.assert_allclose(ahead_of_lidar, [10, 1, 0, 1], atol=1e-12)
    T = pose(rotation_from_quaternion([0.1, -0.2, 0.3, 0.9]), [1, 2, 3])
    np.testing.assert_allclose(transforms.to_matrix(transforms.to_message(T, "a", "b")), T)
