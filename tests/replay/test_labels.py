"""Segmentation answers find the truth of their own stamp, and are counted class by class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="the ROS message packages are not installed")
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from ros_xai.data.segmentation import CAMVID
from ros_xai.replay.bag import Bag
from ros_xai.replay.labels import LabelRoles, label_confusion, label_figures, label_frames
from ros_xai.world.bag_writer import BagWriter

START_NS, PERIOD_NS = 1_700_000_000 * 10**9, 10**8
ROLES = LabelRoles("/camera/image", "/gt/labels", "/segmentation/labels", "/segmentation/names")
ROAD, CAR = CAMVID.names.index("road"), CAMVID.names.index("car")


def played(folder: Path, answers: list[np.ndarray], truths: list[np.ndarray], names: list[str]):
    with BagWriter(folder / "in.mcap") as bag, BagWriter(folder / "out.mcap") as outputs:
        entries = [{"id": i, "name": n, "color": [0, 0, 0]} for i, n in enumerate(names)]
        data = serialize_message(String(data=json.dumps(entries)))
        outputs.cdr(ROLES.names, "std_msgs/msg/String", data, 0)
        for i, (answer, truth) in enumerate(zip(answers, truths)):
            stamp = START_NS + i * PERIOD_NS
            bag.image("/camera/image", stamp, "camera", np.full((4, 6, 3), i, np.uint8), "rgb8")
            bag.image("/gt/labels", stamp, "camera", truth, "mono8")
            outputs.image(ROLES.labels, stamp, "camera", answer, "mono8", log_ns=stamp + 7)
    return list(label_frames(Bag(folder / "in.mcap"), Bag(folder / "out.mcap"), ROLES))


def test_labels_are_told_by_their_published_names(tmp_path):
    truth = np.full((4, 6), ROAD, np.uint8)
    truth[:, :3] = CAR
    truth[0, 0] = 255
    answer = np.ones((4, 6), np.uint8)  # road, in the network's own numbers
    answer[:2, :3] = 0  # car
    answer[3, 5] = 2  # a class that CamVid lacks
    frames = played(tmp_path, [answer] * 3, [truth] * 3, ["car", "road", "scooter"])
    assert [f.stamp_ns for f in frames] == [START_NS + i * PERIOD_NS for i in range(3)]
    assert [int(f.image[0, 0, 0]) for f in frames] == [0, 1, 2]
    figures = label_figures(label_confusion(frames[1]))
    # 11 car pixels with truth, 5 of them called car; 12 of road, 11 called road, with 6 cars
    assert figures["iou.car"] == pytest.approx(5 / 11)
    assert figures["iou.road"] == pytest.approx(11 / 18)
    assert figures["miou"] == pytest.approx((5 / 11 + 11 / 18) / 2)
    assert figures["pixel_accuracy"] == pytest.approx(16 / 23)


def test_truth_of_another_size_is_no_truth(tmp_path):
    frames = played(tmp_path, [np.zeros((4, 6), np.uint8)], [np.zeros((5, 6), np.uint8)], ["road"])
    assert frames[0].truth is None and label_confusion(frames[0]) is None
    assert label_figures(np.zeros((12, 12), np.int64)) == {}
