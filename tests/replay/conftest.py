"""Small bags that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ros_xai.core.geometry import pose
from ros_xai.world.bag_writer import BagWriter

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
INTRINSICS = np.array([[60.0, 0, 47.5], [0, 60.0, 31.5], [0, 0, 1]])
# Optical axes (right, down, forward) of a camera that looks along the LiDAR's x axis.
T_CAMERA_LIDAR = pose([[0, -1, 0], [0, 0, -1], [1, 0, 0]], [0, -0.1, 0])


def write_drive(path: Path, frames: int = 10, ground_truth: bool = True) -> Path:
    """A bag of 96x64 images, a wall 10 m ahead seen by 4 beams, 10 Hz, with exact depth."""
    rng = np.random.default_rng(0)
    y, z = np.meshgrid(np.linspace(-9, 9, 73), np.array([1.0, 0.5, 0.0, -0.5]))
    wall = np.stack([np.full(y.size, 10.0), y.ravel(), z.ravel()], axis=1).astype(np.float32)
    ring = np.repeat(np.arange(4), 73).astype(np.uint16)
    with BagWriter(path) as bag:
        bag.transforms("/tf_static", START_NS, [("camera_optical", "lidar", T_CAMERA_LIDAR)])
        for index in range(frames):
            stamp = START_NS + index * PERIOD_NS
            pixels = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
            bag.camera_info("/camera/camera_info", stamp, "camera_optical", INTRINSICS, 96, 64)
            bag.points("/lidar/points", stamp, "lidar", wall, ring=ring)
            bag.image("/camera/image", stamp, "camera_optical", pixels, "rgb8")
            if ground_truth:
                truth = np.full((64, 96), 10.0, np.float32)
                bag.image("/gt/depth", stamp, "camera_optical", truth, "32FC1")
    return path


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """The path of a bag of `write_drive`."""
    return write_drive(tmp_path / "drive.mcap")


@pytest.fixture
def bag_of(tmp_path: Path) -> Callable[[Callable[[BagWriter], None]], Path]:
    """Writes a bag with the calls of a function and returns its path."""

    def write(calls: Callable[[BagWriter], None]) -> Path:
        path = tmp_path / "bag.mcap"
        with BagWriter(path) as bag:
            calls(bag)
        return path

    return write
