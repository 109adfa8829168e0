"""What a bag says beside a frame: speed and labels, whatever clock it was recorded by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ros_xai.fleet.judge import Beside
from ros_xai.replay.bag import Bag
from ros_xai.world.bag_writer import BagWriter

SECOND = 10**9
FRAMES = 40  # 10 Hz


def recorded(path: Path, clock_ns: int, start_ns: int = 100 * SECOND, labels: bool = True) -> Bag:
    """Of frame k: its speed, k m/s, and a label image of k everywhere."""
    with BagWriter(path) as bag:
        for k in range(FRAMES):
            stamp = start_ns + k * SECOND // 10
            log = stamp + clock_ns
            if labels:
                label = np.full((2, 3), k, np.uint8)
                bag.image("/gt/labels", stamp, "camera", label, "mono8", log_ns=log)
            speed = ((float(k), 0.0, 0.0), (0.0, 0.0, 0.0))
            bag.odometry("/odometry", stamp, "map", "base_link", np.eye(4), *speed, log_ns=log)
    return Bag(path)


@pytest.mark.parametrize("clock_ns", [0, 10**18, -90 * SECOND])
@pytest.mark.parametrize("labels", [True, False])
def test_speed_and_labels_are_found_by_their_stamps(
    tmp_path: Path, clock_ns: int, labels: bool
) -> None:
    beside = Beside(recorded(tmp_path / "drive.mcap", clock_ns, labels=labels))
    for k in range(FRAMES):
        speed, label = beside.at(100 * SECOND + k * SECOND // 10)
        assert speed == k
        assert label.tolist() == [[k] * 3] * 2 if labels else label is None
        assert len(beside._labels) < 25


def test_nothing_is_said_of_moments_that_the_bag_does_not_know(tmp_path: Path) -> None:
    beside = Beside(recorded(tmp_path / "drive.mcap", 0))
    assert beside.at(50 * SECOND) == (None, None)
    assert beside.at(200 * SECOND) == (None, None)
    with BagWriter(tmp_path / "blind.mcap") as bag:
        bag.image("/camera/image", SECOND, "camera", np.zeros((2, 3), np.uint8), "mono8")
    assert Beside(Bag(tmp_path / "blind.mcap")).at(SECOND) == (None, None)


def test_one_stamp_far_ahead_does_not_end_the_reading(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "jump.mcap") as bag:
        for k in range(FRAMES):
            stamp = 10**18 if k == 5 else 100 * SECOND + k * SECOND // 10
            label = np.full((2, 3), k, np.uint8)
            bag.image("/gt/labels", stamp, "camera", label, "mono8", log_ns=k * SECOND // 10)
    beside = Beside(Bag(tmp_path / "jump.mcap"))
    found = [beside.at(100 * SECOND + k * SECOND // 10)[1] for k in range(FRAMES)]
    assert [k for k, label in enumerate(found) if label is None] == [5]
