"""Frames for learning out of a bag: pairs by time, points in the camera, bad messages left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ros_xai.core.geometry import pose
from ros_xai.replay.bag import BagError
from ros_xai.replay.depth_drive import depth_drive
from ros_xai.world.bag_writer import BagWriter

K = np.array([[50.0, 0, 15.5], [0, 50, 7.5], [0, 0, 1]])
R_CAMERA_LIDAR = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
T_CAMERA_LIDAR = pose(R_CAMERA_LIDAR, [0, -0.1, -0.2])


def write(path: Path, late_ms: int = 20, transforms: bool = True, ring: bool = True) -> Path:
    with BagWriter(path) as bag:
        if transforms:
            bag.transforms("/tf_static", 0, [("camera_optical", "lidar", T_CAMERA_LIDAR)])
        for i in range(4):
            stamp = 1_000_000_000 + 100_000_000 * i
            bag.camera_info("/camera/camera_info", stamp, "camera_optical", K, 32, 16)
            image = np.full((16, 32, 3), (10 * i, 50, 200), dtype=np.uint8)
            bag.image("/camera/image", stamp, "camera_optical", image, "rgb8")
            xyz = np.array([[10.0 + i, 0, 0], [5, 1, 0], [np.nan, 0, 0]], dtype=np.float32)
            fields = {"ring": np.array([8, 24, 40], dtype=np.uint16)} if ring else {}
            bag.points("/lidar/points", stamp + late_ms * 1_000_000, "lidar", xyz, **fields)
    return path


def test_every_image_gets_the_cloud_of_its_time(tmp_path):
    drive = depth_drive(write(tmp_path / "drive.mcap"))
    assert drive.name == "drive"
    assert len(drive) == 4
    for i, sample in enumerate(drive.samples):
        assert sample.image[3, 3].tolist() == [10 * i, 50, 200]
        assert np.allclose(sample.intrinsics, K)
        assert sample.points[:, 2] == pytest.approx([10 + i - 0.2, 4.8], abs=1e-5)
        assert sample.points[1, 0] == pytest.approx(-1, abs=1e-5)
        assert sample.ring.tolist() == [8, 24]
        assert (sample.sparse_depth() > 0).sum() == 2


def test_frames_can_be_limited(tmp_path):
    assert len(depth_drive(write(tmp_path / "drive.mcap"), max_frames=3)) == 3


def test_beams_are_numbered_by_elevation_without_a_ring_field(tmp_path):
    drive = depth_drive(write(tmp_path / "drive.mcap", ring=False), beams=2)
    assert drive[0].ring.max() <= 1


def test_clouds_of_another_time_are_no_pair(tmp_path):
    with pytest.raises(BagError, match="within 50 ms"):
        depth_drive(write(tmp_path / "drive.mcap", late_ms=1000))


def test_sensors_must_be_connected(tmp_path):
    with pytest.raises(BagError, match="tf_static"):
        depth_drive(write(tmp_path / "drive.mcap", transforms=False))


def test_a_bag_without_points_says_so(tmp_path):
    with BagWriter(tmp_path / "blind.mcap") as bag:
        bag.camera_info("/camera/camera_info", 1, "camera", K, 32, 16)
        bag.image("/camera/image", 1, "camera", np.zeros((16, 32, 3), np.uint8), "rgb8")
    with pytest.raises(BagError, match="lacks points"):
        depth_drive(tmp_path / "blind.mcap")
