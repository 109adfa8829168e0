"""What the distribution's helper packages and our equivalents both promise.

Every test runs on our equivalent, and on the distribution's package too where it can be imported.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time as ClockTime
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from ros_xai.core.geometry import invert, pose, rotation_from_quaternion, rotation_z
from ros_xai.ros import compat, images, pointclouds, transforms
from ros_xai.ros.errors import MessageError


def implementations(name: str) -> Any:
    """A fixture over our equivalent of a package and the distribution's, if that is installed."""
    ours = "ros_xai.ros.equivalents." + name.rpartition(".")[2]
    found = [ours]
    try:
        importlib.import_module(name)
        found.append(name)
    except ImportError:
        pass

    @pytest.fixture(params=found)
    def implementation(request: pytest.FixtureRequest) -> types.ModuleType:
        return importlib.import_module(request.param)

    return implementation


message_filters = implementations("message_filters")
point_cloud2 = implementations("sensor_msgs_py.point_cloud2")
cv_bridge = implementations("cv_bridge")
tf2_ros = implementations("tf2_ros")


# compat ------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_compat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports compat again, as in a process where `installed` modules can be imported."""

    def load(**installed: types.ModuleType) -> Any:
        for name, module in installed.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, "ros_xai.ros.compat")
        return importlib.import_module("ros_xai.ros.compat")

    monkeypatch.setattr("ros_xai.ros.compat", compat)  # the package's attribute is restored
    yield load


def test_the_distribution_is_preferred(fresh_compat: Any) -> None:
    theirs = types.ModuleType("message_filters")
    assert fresh_compat(message_filters=theirs).message_filters is theirs


def test_what_is_not_installed_is_replaced_in_silence(
    fresh_compat: Any, recwarn: pytest.WarningsRecorder
) -> None:
    loaded = fresh_compat()
    for name in ("message_filters", "cv_bridge", "point_cloud2", "tf2_ros"):
        package = "sensor_msgs_py" if name == "point_cloud2" else name
        if importlib.util.find_spec(package) is None:
            assert getattr(loaded, name).__name__ == f"ros_xai.ros.equivalents.{name}"
    assert not recwarn.list


def test_a_broken_package_is_replaced_with_a_warning(
    fresh_compat: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cv_bridge.py").write_text("raise ImportError('built for numpy 1')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    with pytest.warns(UserWarning, match=r"cv_bridge cannot be imported \(built for numpy 1\)"):
        loaded = fresh_compat()
    assert loaded.cv_bridge.__name__ == "ros_xai.ros.equivalents.cv_bridge"


# message_filters ---------------------------------------------------------------------------------


class Inputs:
    """Filters that stand for subscriptions, and what a synchroniser made of their messages."""

    def __init__(self, module: Any, count: int = 3) -> None:
        self.filters = [module.SimpleFilter() for _ in range(count)]
        self.sets: list[tuple[int, ...]] = []

    def on_set(self, *messages: Any) -> None:
        self.sets.append(tuple(m.header.stamp.nanosec // 10**6 for m in messages))

    def add(self, index: int, *milliseconds: int) -> None:
        for stamp in milliseconds:
            message = types.SimpleNamespace(header=Header(stamp=Time(nanosec=stamp * 10**6)))
            self.filters[index].signalMessage(message)


def exact(module: Any, queue_size: int = 10) -> Inputs:
    inputs = Inputs(module)
    synchronizer = module.TimeSynchronizer(inputs.filters, queue_size)
    synchronizer.registerCallback(inputs.on_set)
    return inputs


def approximate(module: Any, slop: float, queue_size: int = 10) -> Inputs:
    inputs = Inputs(module)
    synchronizer = module.ApproximateTimeSynchronizer(inputs.filters, queue_size, slop)
    synchronizer.registerCallback(inputs.on_set)
    return inputs


def test_filters_pass_messages_and_arguments_to_all_callbacks(message_filters: Any) -> None:
    source, seen = message_filters.SimpleFilter(), []
    source.registerCallback(lambda *a: seen.append(("first", *a)))
    source.registerCallback(lambda *a: seen.append(("second", *a)), "extra", 3)
    source.signalMessage("message")
    assert seen == [("first", "message"), ("second", "message", "extra", 3)]


def test_exact_sets_need_every_input(message_filters: Any) -> None:
    inputs = exact(message_filters)
    inputs.add(0, 100, 200)
    inputs.add(1, 200, 300)
    assert inputs.sets == []
    inputs.add(2, 200)
    assert inputs.sets == [(200, 200, 200)]


def test_exact_sets_may_complete_out_of_order(message_filters: Any) -> None:
    inputs = exact(message_filters)
    inputs.add(0, 100, 200)
    inputs.add(1, 200, 100)
    inputs.add(2, 200, 100)
    assert inputs.sets == [(200,) * 3, (100,) * 3]


def test_exact_queues_are_bounded(message_filters: Any) -> None:
    inputs = exact(message_filters, queue_size=2)
    inputs.add(0, 100, 200, 300)
    for index in (1, 2):
        inputs.add(index, 100)
        inputs.add(index, 300)
    assert inputs.sets == [(300,) * 3]


def test_duplicates_give_one_set(message_filters: Any) -> None:
    for inputs in (exact(message_filters), approximate(message_filters, 0.05)):
        inputs.add(0, 100, 100)
        inputs.add(1, 100, 100)
        inputs.add(2, 100)
        assert inputs.sets == [(100,) * 3]


def test_approximate_sets_take_the_nearest(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 80, 95, 120)
    inputs.add(1, 60, 110)
    inputs.add(2, 100)
    assert inputs.sets == [(95, 110, 100)]


def test_approximate_sets_span_less_than_the_slop(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 60)
    inputs.add(1, 120)
    inputs.add(2, 90)  # 30 ms from both, which are 60 ms apart
    assert inputs.sets == []
    inputs.add(0, 75)  # 45 ms from the farthest
    assert inputs.sets == [(75, 120, 90)]


def test_approximate_sets_use_messages_once(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 100)
    inputs.add(1, 100)
    inputs.add(2, 100, 110, 120)
    assert inputs.sets == [(100,) * 3]


def test_approximate_sets_fall_back_to_the_next_nearest(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 70, 135)  # 70 is nearest to 100, but too far from 130
    inputs.add(1, 130)
    inputs.add(2, 100)
    assert inputs.sets == [(135, 130, 100)]


def test_a_subscriber_is_a_filter(message_filters: Any, ros_context: Any) -> None:
    node = Node("listener", context=ros_context)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    seen: list[Any] = []
    subscriber = message_filters.Subscriber(node, Header, "headers")
    subscriber.registerCallback(seen.append)
    assert subscriber.getTopic() == "headers"
    publisher = node.create_publisher(Header, "headers", 10)
    for _ in range(100):
        publisher.publish(Header(frame_id="camera"))
        executor.spin_once(timeout_sec=0.1)
        if seen:
            break
    node.destroy_node()
    assert seen[0] == Header(frame_id="camera")


# sensor_msgs_py.point_cloud2 ---------------------------------------------------------------------

XYZ = [(1.0, 2.0, 3.0), (float("nan"), 5.0, 6.0), (7.0, 8.0, 9.0)]


def fields_of(*names: str) -> list[PointField]:
    return [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(names)
    ]


@pytest.mark.parametrize("points", [XYZ, np.array(XYZ, np.float32)], ids=["list", "array"])
def test_xyz32_clouds(point_cloud2: Any, points: Any) -> None:
    cloud = point_cloud2.create_cloud_xyz32(Header(frame_id="lidar"), points)
    assert cloud.header.frame_id == "lidar"
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 3, 12, 36)
    assert cloud.fields == fields_of("x", "y", "z")
    assert bytes(cloud.data) == np.array(XYZ, "<f4").tobytes()


def test_clouds_of_structured_points_and_of_tuples_are_equal(point_cloud2: Any) -> None:
    fields = [*fields_of("x", "y"), PointField(name="ring", offset=8, datatype=4, count=1)]
    tuples = [(1.5, -2.0, 7), (0.0, 4.0, 65535)]
    structured = np.array(tuples, [("x", "f4"), ("y", "f4"), ("ring", "u2")])
    clouds = [point_cloud2.create_cloud(Header(), fields, p) for p in (tuples, structured)]
    assert bytes(clouds[0].data) == bytes(clouds[1].data) == structured.tobytes()
    assert [list(c.fields) for c in clouds] == [fields, fields]


def test_structured_points_must_have_the_layout_of_the_fields(point_cloud2: Any) -> None:
    with pytest.raises((ValueError, AssertionError)):
        point_cloud2.create_cloud(Header(), fields_of("x", "y"), np.zeros(2, [("x", "f4")]))


def test_a_larger_point_step_pads(point_cloud2: Any) -> None:
    cloud = point_cloud2.create_cloud(
        Header(), fields_of("x", "y"), [(1, 2), (3, 4)], point_step=16
    )
    assert (cloud.point_step, len(cloud.data)) == (16, 32)
    assert np.frombuffer(cloud.data, "<f4").reshape(2, 4)[:, :2].tolist() == [[1, 2], [3, 4]]


def test_read_points(point_cloud2: Any) -> None:
    cloud = pointclouds.to_message(
        np.array(XYZ, np.float32), Header(), ring=np.array([3, 4, 5], np.uint16)
    )
    assert not cloud.is_dense
    points = point_cloud2.read_points(cloud)
    assert points.dtype.names == ("x", "y", "z", "ring")
    assert points["ring"].tolist() == [3, 4, 5]
    chosen = point_cloud2.read_points(cloud, field_names=["ring", "y"])
    assert (chosen.dtype.names, chosen["y"].tolist()) == (("ring", "y"), [2, 5, 8])
    without_nan = point_cloud2.read_points(cloud, skip_nans=True)
    assert without_nan["ring"].tolist() == [3, 5]
    finite_fields = point_cloud2.read_points(cloud, field_names=["y", "ring"], skip_nans=True)
    assert finite_fields["ring"].tolist() == [3, 4, 5]


def test_read_points_numpy(point_cloud2: Any) -> None:
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ)
    everything = point_cloud2.read_points_numpy(cloud)
    np.testing.assert_array_equal(everything, np.array(XYZ, np.float32))
    some = point_cloud2.read_points_numpy(cloud, field_names=["z", "x"], skip_nans=True)
    np.testing.assert_array_equal(some, [[3, 1], [9, 7]])


def test_organised_big_endian_clouds_are_read_flat(point_cloud2: Any) -> None:
    cloud = PointCloud2(height=2, width=2, point_step=8, row_step=16, is_bigendian=True)
    cloud.fields = fields_of("x", "y")
    cloud.data.frombytes(np.arange(8, dtype=">f4").tobytes())
    points = point_cloud2.read_points_numpy(cloud)
    assert points.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


# cv_bridge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "channels", "encoding", "generic"),
    [
        (np.uint8, 3, "bgr8", "8UC3"),
        (np.uint8, 1, "mono8", "8UC1"),
        (np.uint16, 1, "mono16", "16UC1"),
        (np.float32, 1, "32FC1", "32FC1"),
    ],
)
def test_images_go_and_come_back(
    cv_bridge: Any, dtype: Any, channels: int, encoding: str, generic: str
) -> None:
    bridge = cv_bridge.CvBridge()
    image = np.arange(2 * 3 * channels).reshape(2, 3, channels).astype(dtype)
    image = image if channels > 1 else image[..., 0]
    message = bridge.cv2_to_imgmsg(image, encoding, Header(frame_id="camera"))
    assert message == images.to_message(image, encoding, Header(frame_id="camera"))
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), image)
    assert bridge.cv2_to_imgmsg(image).encoding == generic


@pytest.mark.parametrize(
    ("source", "desired", "pixel"),
    [
        ("rgb8", "bgr8", [3, 2, 1]),
        ("bgr8", "rgb8", [3, 2, 1]),
        ("rgb8", "bgra8", [3, 2, 1, 255]),
        ("rgb8", "passthrough", [1, 2, 3]),
    ],
)
def test_colours_are_converted(cv_bridge: Any, source: str, desired: str, pixel: list[int]) -> None:
    message = images.to_message(np.full((2, 2, 3), [1, 2, 3], np.uint8), source)
    converted = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding=desired)
    assert converted[1, 0].tolist() == pixel


def test_impossible_conversions_are_cv_bridge_errors(cv_bridge: Any) -> None:
    bridge = cv_bridge.CvBridge()
    assert issubclass(cv_bridge.CvBridgeError, TypeError)
    with pytest.raises(cv_bridge.CvBridgeError):
        bridge.cv2_to_imgmsg(np.zeros((2, 2, 3), np.uint8), "mono8")
    with pytest.raises(cv_bridge.CvBridgeError):
        bridge.imgmsg_to_cv2(Image(height=1, width=1, step=1, encoding="nonsense"))
    with pytest.raises(cv_bridge.CvBridgeError):
        bridge.imgmsg_to_cv2(images.to_message(np.zeros((2, 2), np.float32), "32FC1"), "nonsense")
    with pytest.raises(TypeError):
        bridge.cv2_to_imgmsg([[1, 2], [3, 4]])


# tf2_ros -----------------------------------------------------------------------------------------

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


# Only of ours: what cannot be used is refused with a reason --------------------------------------


@pytest.mark.parametrize(
    ("parent", "child"), [("", "lidar"), ("base_link", ""), ("a", "a"), ("camera", "base_link")]
)
def test_frames_must_form_a_tree(parent: str, child: str) -> None:
    ours = importlib.import_module("ros_xai.ros.equivalents.tf2_ros")
    with pytest.raises(MessageError) as caught:
        calibrated(ours).set_transform_static(transforms.to_message(np.eye(4), parent, child))
    assert caught.value.reason == "bad_transform"


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
