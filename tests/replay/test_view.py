"""What a bag becomes for Rerun, read back from the file it writes."""

import numpy as np
import pytest
from typer.testing import CliRunner

from ros_xai.core.geometry import pose
from ros_xai.world.bag_writer import BagWriter

rr = pytest.importorskip("rerun", reason="rerun-sdk (extra `view`) is not installed")

K = np.array([[60.0, 0, 15.5], [0, 60.0, 11.5], [0, 0, 1]])
RGB = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
DEPTH = np.full((24, 32), 7.5, np.float32)
XYZ = np.array([[1, 2, 3], [4, 5, 6], [np.nan, 0, 0]], np.float32)


class Recording:
    """Keeps what is logged."""

    def __init__(self):
        self.logged = {}
        self.times = []

    def set_time(self, timeline, timestamp):
        self.times.append(timestamp)

    def log(self, path, archetype, static):
        self.logged.setdefault(path, []).append((archetype, static))

    def of(self, path, kind):
        return [archetype for archetype, _ in self.logged[path] if isinstance(archetype, kind)]


@pytest.fixture
def drive(tmp_path):
    path = tmp_path / "drive.mcap"
    with BagWriter(path) as bag:
        bag.transforms("/tf_static", 10**9, [("base_link", "lidar", pose(np.eye(3), [0, 0, 2]))])
        bag.camera_info("/camera/camera_info", 10**9, "camera_optical", K, 32, 24)
        bag.image("/camera/image", 10**9, "camera_optical", RGB, "rgb8")
        bag.image("/depth/image", 2 * 10**9, "camera_optical", DEPTH, "32FC1")
        bag.points("/lidar/points", 2 * 10**9, "lidar", XYZ)
    return path


def test_messages_become_pictures_clouds_and_transforms(drive):
    from ros_xai.replay.bag import Bag
    from ros_xai.replay.view import log_bag

    recording = Recording()
    assert log_bag(Bag(drive), recording) == {
        "/tf_static": 1,
        "/camera/camera_info": 1,
        "/camera/image": 1,
        "/depth/image": 1,
        "/lidar/points": 1,
    }
    (picture,) = recording.of("/camera/image", rr.Image)
    np.testing.assert_array_equal(
        np.asarray(picture.buffer.as_arrow_array().to_pylist()[0], np.uint8).reshape(RGB.shape), RGB
    )
    (points,) = recording.of("/lidar/points", rr.Points3D)
    np.testing.assert_array_equal(points.positions.as_arrow_array().to_pylist(), XYZ[:2])
    (depth,) = recording.of("/depth/image", rr.DepthImage)
    assert depth.meter.as_arrow_array().to_pylist() == [1.0]
    assert [static for _, static in recording.logged["/tf_static/lidar"]] == [True]
    assert sorted(set(recording.times)) == [1.0, 2.0]


def test_pictures_lie_in_the_image_plane_of_their_camera(drive):
    from ros_xai.replay.bag import Bag
    from ros_xai.replay.view import log_bag

    recording = Recording()
    log_bag(Bag(drive), recording)
    (pinhole,) = recording.of("/camera/camera_info", rr.Pinhole)
    (frame,) = recording.of("/camera/image", rr.CoordinateFrame)
    assert (
        pinhole.child_frame.as_arrow_array().to_pylist() == frame.frame.as_arrow_array().to_pylist()
    )


def test_the_command_writes_a_file_that_rerun_reads(drive, tmp_path):
    from ros_xai.cli.view import app

    saved = tmp_path / "drive.rrd"
    result = CliRunner().invoke(app, [str(drive), "--save", str(saved)])
    assert result.exit_code == 0, result.output
    assert "/lidar/points: 1" in result.output
    assert saved.read_bytes()[:4] == b"RRF2"


def test_what_is_no_bag_is_refused(tmp_path):
    from ros_xai.cli.view import app

    result = CliRunner().invoke(app, [str(tmp_path / "none.mcap")])
    assert result.exit_code == 1
    assert "no bag" in result.output
