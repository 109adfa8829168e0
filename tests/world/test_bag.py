"""The bag of a drive, read back by rosbags: topics, truths that agree, same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from typer.testing import CliRunner

from ros_xai.cli.world import app
from ros_xai.core.geometry import yaw
from ros_xai.world.bag import (
    BagConfig,
    _Odometry,
    body_motion,
    future,
    lights,
    markers,
    write_bag,
)
from ros_xai.world.camera import Camera
from ros_xai.world.drive import Drive
from ros_xai.world.lidar import Lidar, hdl64
from ros_xai.world.traffic import BRAKE, LIGHT_STATES

CONFIG = BagConfig(
    seed=4,
    seconds=0.4,
    network="tee",
    camera=Camera(width=96, height=48),
    lidar=Lidar(hdl64(8), azimuth_step=1.0),
)
EACH_FRAME = {
    "/camera/image",
    "/camera/camera_info",
    "/lidar/points",
    "/gt/depth",
    "/gt/labels",
    "/gt/instances",
    "/gt/odometry",
    "/gt/future",
    "/gt/lights",
    "/odometry",
    "/tf",
    "/tracks",
}
ONCE = {"/tf_static", "/map/drivable", "/map/lane_dividers", "/map/crossings"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(CONFIG, tmp_path_factory.mktemp("bag") / "town.mcap", jobs=1)


@pytest.fixture(scope="module")
def messages(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with AnyReader([path]) as reader:
        for connection, _, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append(message)
    return found


def test_all_topics_are_there(messages: dict[str, list[Any]]) -> None:
    assert set(messages) == EACH_FRAME | ONCE
    assert {len(messages[topic]) for topic in EACH_FRAME} == {CONFIG.frames}
    assert {len(messages[topic]) for topic in ONCE} == {1}


def test_stamps_are_a_tenth_apart_and_equal_within_a_frame(messages: dict[str, list[Any]]) -> None:
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages["/gt/depth"]]
    assert np.all(np.diff(stamps) == 10**8)
    for topic in ("/camera/image", "/lidar/points", "/odometry", "/gt/future"):
        assert [m.header.stamp for m in messages[topic]] == [
            m.header.stamp for m in messages["/gt/depth"]
        ]


def test_depth_is_unknown_where_the_label_is_sky(messages: dict[str, list[Any]]) -> None:
    for depth, label in zip(messages["/gt/depth"], messages["/gt/labels"]):
        metres = np.frombuffer(depth.data, np.float32).reshape(48, 96)
        classes = np.frombuffer(label.data, np.uint8).reshape(48, 96)
        assert depth.encoding == "32FC1" and label.encoding == "mono8"
        assert np.array_equal(np.isnan(metres), classes == 0)


def test_sensors_hang_where_their_configuration_says(messages: dict[str, list[Any]]) -> None:
    parts = {
        t.child_frame_id: t.transform.translation for t in messages["/tf_static"][0].transforms
    }
    assert set(parts) == {"lidar", "camera_optical"}
    assert parts["lidar"].z == pytest.approx(1.73)
    assert (parts["camera_optical"].x, parts["camera_optical"].z) == pytest.approx((0.27, 1.65))


def test_tf_and_odometry_tell_the_true_pose(messages: dict[str, list[Any]]) -> None:
    for tf, true, noisy in zip(messages["/tf"], messages["/gt/odometry"], messages["/odometry"]):
        place, pose = tf.transforms[0].transform.translation, true.pose.pose.position
        assert (place.x, place.y) == pytest.approx((pose.x, pose.y))
        guess = noisy.pose.pose.position
        assert np.hypot(guess.x - pose.x, guess.y - pose.y) < 0.5
    guesses = [m.twist.twist.linear.x for m in messages["/odometry"]]
    truths = [m.twist.twist.linear.x for m in messages["/gt/odometry"]]
    assert guesses != truths and np.allclose(guesses, truths, rtol=0.06)


def test_the_map_is_drivable_below_the_ego(messages: dict[str, list[Any]]) -> None:
    grid, pose = messages["/map/drivable"][0], messages["/gt/odometry"][0].pose.pose.position
    cells = np.asarray(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
    column = int((pose.x - grid.info.origin.position.x) / grid.info.resolution)
    row = int((pose.y - grid.info.origin.position.y) / grid.info.resolution)
    assert cells[row, column] == 100
    assert 0.05 < (cells == 100).mean() < 0.6


def test_same_config_same_bytes_with_any_number_of_processes(path: Path, tmp_path: Path) -> None:
    again = write_bag(CONFIG, tmp_path / "again.mcap", jobs=2)
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, again)}
    assert len(digests) == 1


def test_a_lens_is_told_by_its_camera_info(tmp_path: Path) -> None:
    bent = replace(CONFIG, seconds=0.1, camera=replace(CONFIG.camera, distortion=(-0.3, 0.1, 0, 0)))
    with AnyReader([write_bag(bent, tmp_path / "bent.mcap", jobs=1)]) as reader:
        chosen = [c for c in reader.connections if c.topic == "/camera/camera_info"]
        [(connection, _, raw)] = reader.messages(chosen)
        info = reader.deserialize(raw, connection.msgtype)
    assert info.distortion_model == "plumb_bob"
    assert info.d.tolist() == [-0.3, 0.1, 0.0, 0.0, 0.0]
    assert info.k.tolist() == bent.camera.intrinsics.ravel().tolist()


def test_an_unknown_domain_stops_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'snow'"):
        write_bag(replace(CONFIG, domain="snow"), tmp_path / "none.mcap", jobs=1)
    assert not list(tmp_path.iterdir())


def test_futures_are_later_positions(small_drive: Drive) -> None:
    promised = future(small_drive, 10)
    assert set(np.unique(promised["t"])) == set(np.arange(1, 13, dtype=np.float32) / 2)
    for t in (0.5, 6.0):
        later = {m.id: m.T[:2, 3] for m in markers(small_drive, 10 + round(t * 10))}
        at = np.isclose(promised["t"], t)
        compared = 0
        for track, xyz in zip(promised["track_id"][at], promised["xyz"][at]):
            if int(track) in later:
                assert np.allclose(later[int(track)], xyz[:2], atol=1e-4)
                compared += 1
        assert compared > 20


def test_body_motion_is_forwards_and_turns_with_the_heading(small_drive: Drive) -> None:
    step = 30
    linear, angular = body_motion(small_drive, step)
    moved = np.linalg.norm(small_drive.velocity(step))
    assert np.linalg.norm(linear) == pytest.approx(moved, rel=1e-3)
    assert abs(linear[1]) < 0.2 * moved + 0.05
    turn = yaw(small_drive.T_world_base[step + 1]) - yaw(small_drive.T_world_base[step - 1])
    assert angular[2] == pytest.approx(turn / 0.2, abs=1e-6)


def test_lights_are_those_of_the_traffic(small_drive: Drive) -> None:
    traffic = small_drive.scene.traffic
    letters = {"red": "r", "red-yellow": "u", "yellow": "yY", "green": "gG", "off": "oO"}
    seen: set[str] = set()
    for step in range(0, small_drive.steps, 5):
        found = lights(small_drive, step)
        for head in (m for m in found if m.ns == "signal"):
            assert LIGHT_STATES[traffic.lights[step, head.id]] in letters[head.text]
            lane = traffic.road_map.lanes[traffic.road_map.signals[head.id].lane]
            assert np.allclose(head.T[:2, 3], lane.shape[-1])
        braking = {m.id for m in found if m.ns == "brake"}
        near = {m.id for m in markers(small_drive, step)}
        assert braking == near & set(np.flatnonzero(traffic.signals[step] & BRAKE).tolist())
        seen |= {m.ns for m in found} | {m.text for m in found}
    assert {"signal", "brake", "red", "green"} <= seen


def test_tracks_are_all_agents_near_but_the_ego(small_drive: Drive) -> None:
    xy = small_drive.scene.traffic.xy[30]
    near = np.flatnonzero(np.hypot(*(xy - xy[0]).T) < 80).tolist()
    assert near[0] == 0 and len(near) > 5
    assert [box.id for box in markers(small_drive, 30)] == near[1:]


def test_odometry_is_pulled_to_the_gps_fixes(small_drive: Drive) -> None:
    poses: list[np.ndarray] = []

    class Kept:
        def odometry(self, topic: str, stamp: int, frame: str, child: str, T: Any, *_: Any) -> None:
            poses.append(T[:3, 3].copy())

    odometry = _Odometry(0, small_drive)
    odometry._T[1, 3] += 100.0
    for step in range(61):
        odometry.write(Kept(), step)  # type: ignore[arg-type]
    off = np.linalg.norm(poses[60] - small_drive.T_world_base[60, :3, 3])
    assert off == pytest.approx(100 * 0.98**60, abs=3.0)


NAN = float("nan")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        *(({"seconds": value}, "seconds: expected 0.1") for value in (-1.0, 0.0, 0.04, NAN)),
        ({"seconds": float("inf")}, "seconds: expected"),
        ({"camera": Camera(width=0)}, "image width: expected 16 to 16384; got 0"),
        ({"camera": Camera(height=-48)}, "image height: expected 16"),
        ({"lidar": Lidar(hdl64(0))}, "LiDAR beams: expected 1 to 256; got 0"),
        ({"lidar": Lidar(hdl64(257))}, "LiDAR beams"),
        ({"lidar": Lidar(noise=-0.1)}, "LiDAR noise"),
        *(({"lidar": Lidar(drop_out=value)}, "LiDAR drop-out") for value in (2.0, -0.1, NAN)),
    ],
)
def test_numbers_that_no_bag_can_have_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BagConfig(**fields)


@pytest.mark.parametrize(
    "options",
    ["--seconds -1", "--seconds 0", "--seconds nan", "--beams 0", "--drop-out 2", "--width 0"],
)
def test_the_command_refuses_them_and_writes_nothing(tmp_path: Path, options: str) -> None:
    result = CliRunner().invoke(app, ["bag", str(tmp_path / "a.mcap"), *options.split()])
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_smallest_bag_is_one(tmp_path: Path) -> None:
    camera = Camera(width=1500, height=16)  # metered on 1/18 of its size
    config = BagConfig(4, 0.1, "tee", "clear", camera, Lidar(hdl64(1), drop_out=1.0))
    with AnyReader([write_bag(config, tmp_path / "a.mcap", jobs=1)]) as reader:
        counts = {topic: found.msgcount for topic, found in reader.topics.items()}
    assert counts["/camera/image"] == counts["/lidar/points"] == 1
