"""Bags are read back by rosbags, by the MCAP library and by ROS's own deserialiser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world import bag_writer
from ros_xai.world.bag_writer import BagWriter, Marker

STAMP = 12_345_678_901


def written(folder: Path, write: Callable[[BagWriter], None]) -> Path:
    path = folder / "bag.mcap"
    with BagWriter(path) as bag:
        write(bag)
    return path


def decoded(path: Path, ros_type: str) -> Any:
    """The only message of the bag, by ROS's own deserialiser."""
    serialization = pytest.importorskip("rclpy.serialization", reason="rclpy is not installed")
    package, name = ros_type.split("/")
    messages = pytest.importorskip(f"{package}.msg", reason=f"{package} is not installed")
    with path.open("rb") as file:
        ((_, _, record),) = make_reader(file).iter_messages()
    return serialization.deserialize_message(record.data, getattr(messages, name))


def test_image_keeps_pixels_stamp_and_frame(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    path = written(tmp_path, lambda bag: bag.image("/image", STAMP, "camera", pixels, "bgr8"))
    message = decoded(path, "sensor_msgs/Image")
    assert (message.height, message.width, message.step) == (7, 5, 15)
    assert (message.encoding, message.header.frame_id) == ("bgr8", "camera")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 345_678_901)
    np.testing.assert_array_equal(np.array(message.data).reshape(7, 5, 3), pixels)


@pytest.mark.parametrize(
    ("encoding", "array"),
    [
        ("rgb8", np.zeros((2, 3), np.uint8)),
        ("mono8", np.zeros((2, 3, 3), np.uint8)),
        ("32FC1", np.zeros((2, 3), np.float64)),
        ("yuv422", np.zeros((2, 3, 2), np.uint8)),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(
    tmp_path: Path, encoding: str, array: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="expected"):
        written(tmp_path, lambda bag: bag.image("/image", STAMP, "camera", array, encoding))
    assert list(tmp_path.iterdir()) == []


def test_points_carry_named_fields_of_their_types(tmp_path: Path) -> None:
    xyz = np.random.default_rng(2).normal(size=(11, 3)).astype(np.float32)
    ring = np.arange(11, dtype=np.uint16)
    intensity = np.linspace(0, 1, 11, dtype=np.float32)
    path = written(
        tmp_path,
        lambda bag: bag.points("/points", STAMP, "lidar", xyz, ring=ring, intensity=intensity),
    )
    message = decoded(path, "sensor_msgs/PointCloud2")
    assert [(f.name, f.offset, f.datatype) for f in message.fields] == [
        ("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("ring", 12, 4), ("intensity", 14, 7),
    ]  # fmt: skip
    assert (message.point_step, message.row_step, message.width) == (18, 198, 11)
    record = np.array(message.data[18 * 4 : 18 * 5], dtype=np.uint8)
    np.testing.assert_array_equal(record[:12].view(np.float32), xyz[4])
    assert record[12:14].view(np.uint16)[0] == 4
    assert record[14:18].view(np.float32)[0] == intensity[4]


def test_camera_info_describes_a_rectified_camera(tmp_path: Path) -> None:
    K = np.array([[700.0, 0, 320], [0, 710, 96], [0, 0, 1]])
    path = written(tmp_path, lambda bag: bag.camera_info("/info", STAMP, "camera", K, 640, 192))
    message = decoded(path, "sensor_msgs/CameraInfo")
    np.testing.assert_array_equal(np.array(message.k).reshape(3, 3), K)
    np.testing.assert_array_equal(np.array(message.p).reshape(3, 4)[:, :3], K)
    assert not np.any(message.d)
    assert (message.width, message.height) == (640, 192)


def test_odometry_pose_is_the_transform(tmp_path: Path) -> None:
    T = pose(rotation_z(np.pi / 2), [1, 2, 3])
    path = written(
        tmp_path,
        lambda bag: bag.odometry("/odom", STAMP, "map", "base_link", T, (4, 0, 0), (0, 0, 5)),
    )
    message = decoded(path, "nav_msgs/Odometry")
    position, turn = message.pose.pose.position, message.pose.pose.orientation
    assert (position.x, position.y, position.z) == (1, 2, 3)
    assert (turn.x, turn.y) == (0, 0)
    assert (turn.z, turn.w) == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))
    assert (message.twist.twist.linear.x, message.twist.twist.angular.z) == (4, 5)


def test_markers_are_boxes_with_class_and_track(tmp_path: Path) -> None:
    box = Marker(17, "car", pose(np.eye(3), [5, 6, 0]), (4.5, 1.8, 1.5), text="3.0 m/s")
    path = written(tmp_path, lambda bag: bag.markers("/tracks", STAMP, "map", [box]))
    (marker,) = decoded(path, "visualization_msgs/MarkerArray").markers
    assert (marker.id, marker.ns, marker.type, marker.text) == (17, "car", marker.CUBE, "3.0 m/s")
    assert (marker.scale.x, marker.scale.y, marker.scale.z) == (4.5, 1.8, 1.5)
    assert marker.color.a > 0


def test_grid_keeps_cells_and_origin(tmp_path: Path) -> None:
    cells = np.array([[-1, 0, 100], [1, 2, 3]], dtype=np.int8)
    path = written(tmp_path, lambda bag: bag.grid("/map", STAMP, "map", cells, 0.5, (7, 8)))
    message = decoded(path, "nav_msgs/OccupancyGrid")
    assert (message.info.width, message.info.height, message.info.resolution) == (3, 2, 0.5)
    assert (message.info.origin.position.x, message.info.origin.orientation.w) == (7, 1)
    np.testing.assert_array_equal(np.array(message.data).reshape(2, 3), cells)


def test_static_transforms_are_offered_latched_and_others_are_not(tmp_path: Path) -> None:
    T = pose(rotation_z(0.1), [1, 0, 2])

    def write(bag: BagWriter) -> None:
        bag.transforms("/tf_static", STAMP, [("base_link", "lidar", T)])
        bag.transforms("/tf", STAMP, [("map", "base_link", T)])

    with Reader(written(tmp_path, write)) as reader:
        durability = {
            connection.topic: connection.ext.offered_qos_profiles[0].durability
            for connection in reader.connections
        }
        records = {
            connection.topic: bag_writer.bag_messages.typestore()
            .deserialize_cdr(data, connection.msgtype)
            .transforms[0]
            for connection, _, data in reader.messages()
        }
    assert durability == {
        "/tf_static": QosDurability.TRANSIENT_LOCAL,
        "/tf": QosDurability.VOLATILE,
    }
    static = records["/tf_static"]
    assert (static.header.frame_id, static.child_frame_id) == ("base_link", "lidar")
    assert static.transform.translation.z == 2
    assert static.transform.rotation.z == pytest.approx(np.sin(0.05))


def test_log_time_is_the_stamp_unless_given(tmp_path: Path) -> None:
    def write(bag: BagWriter) -> None:
        bag.compressed("/jpeg", STAMP, "camera", b"abc")
        bag.compressed("/jpeg", STAMP, "camera", b"abc", log_ns=0)

    with Reader(written(tmp_path, write)) as reader:
        assert [time for _, time, _ in reader.messages()] == [0, STAMP]


def test_same_calls_give_the_same_bytes_and_an_mcap_summary(tmp_path: Path) -> None:
    depth = np.random.default_rng(3).random((40, 50), dtype=np.float32)

    def write(bag: BagWriter) -> None:
        for index in range(3):
            bag.image("/depth", STAMP + index, "camera", depth, "32FC1")

    first = written(tmp_path / "a", write)
    second = written(tmp_path / "b", write)
    assert first.read_bytes() == second.read_bytes()
    with first.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert [m.log_time - STAMP for _, _, m in reader.iter_messages()] == [0, 1, 2]
        assert reader.get_header().profile == "ros2"
    assert summary is not None
    (schema,), (channel,) = summary.schemas.values(), summary.channels.values()
    assert (schema.name, schema.encoding) == ("sensor_msgs/msg/Image", "ros2msg")
    assert channel.message_encoding == "cdr"
    assert summary.statistics.message_count == 3
    assert summary.statistics.message_start_time == STAMP


def test_the_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    with pytest.raises(RuntimeError, match="interrupted"), BagWriter(path) as bag:
        bag.compressed("/jpeg", STAMP, "camera", b"abc")
        raise RuntimeError("interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_topic_holds_one_type(tmp_path: Path) -> None:
    def write(bag: BagWriter) -> None:
        bag.compressed("/camera", STAMP, "camera", b"abc")
        bag.image("/camera", STAMP, "camera", np.zeros((1, 1), np.uint8), "mono8")

    with pytest.raises(ValueError, match="CompressedImage"):
        written(tmp_path, write)


@pytest.mark.parametrize("name", ["bag.db3", "bag", "bag.mcap.zst"])
def test_a_name_by_which_readers_would_take_it_for_something_else_is_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match=r"ends in \.mcap; got"):
        BagWriter(tmp_path / name)
    assert not list(tmp_path.iterdir())
