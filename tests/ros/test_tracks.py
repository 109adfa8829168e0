"""Tracks of vision_msgs and Autoware, by their public fields: the packages need not be there."""

from __future__ import annotations

from types import SimpleNamespace as Of

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ros_xai.ros.forecasts import hash_of, track_numbers
from ros_xai.ros.tracks import from_detections, from_tracked_objects


def pose(x: float, y: float, yaw: float) -> Of:
    half = yaw / 2
    turned = Of(x=0.0, y=0.0, z=np.sin(half), w=np.cos(half))
    return Of(position=Of(x=x, y=y, z=0.0), orientation=turned)


def test_detections_of_vision_msgs() -> None:
    def detection(name: str, *guesses: tuple[str, float]) -> Of:
        results = [Of(hypothesis=Of(class_id=c, score=s)) for c, s in guesses]
        return Of(id=name, results=results, bbox=Of(center=pose(1, 2, 0.4)))

    message = Of(
        header="h",
        detections=[
            detection("a", ("pedestrian", 0.2), ("Car", 0.7)),
            detection("b"),
            detection("c", ("unicorn", 1.0)),
        ],
    )
    seen = from_detections(message)
    assert seen.agents.id.tolist() == ["a"] and seen.agents.category.tolist() == ["vehicle"]
    assert seen.agents.xy.tolist() == [[1, 2]] and seen.agents.yaw == pytest.approx([0.4])
    assert dict(seen.unusable) == {"unknown_class": 2}


def test_tracked_objects_of_autoware() -> None:
    def tracked(uuid: int, label: int) -> Of:
        place = Of(pose_with_covariance=Of(pose=pose(3, 4, -2.0)))
        classes = [Of(label=label, probability=0.9), Of(label=0, probability=0.1)]
        return Of(object_id=Of(uuid=[uuid] * 16), classification=classes, kinematics=place)

    seen = from_tracked_objects(Of(header="h", objects=[tracked(k, k) for k in range(8)]))
    assert seen.agents.category.tolist() == [
        "vehicle", "vehicle", "vehicle", "trailer", "two-wheeler", "two-wheeler", "pedestrian",
    ]  # fmt: skip
    assert seen.agents.yaw == pytest.approx(-2.0)


def test_the_yaw_of_a_tilted_box_is_that_of_its_x_axis() -> None:
    tilted = Rotation.from_euler("ZYX", [0.7, 0.3, -0.4])
    turned = Of(**dict(zip("xyzw", tilted.as_quat())))
    box = Of(position=Of(x=0.0, y=0.0, z=0.0), orientation=turned)
    guess = Of(hypothesis=Of(class_id="car", score=1.0))
    detection = Of(id="a", results=[guess], bbox=Of(center=box))
    seen = from_detections(Of(header="h", detections=[detection]))
    assert seen.agents.yaw == pytest.approx([0.7])


def test_ids_become_numbers() -> None:
    names = np.array(["7", "-1", "3b3570b4-7b0b", "car front"])
    assert track_numbers(names).tolist() == [7, 2**32 - 1, 0x3B3570B4, hash_of("car front")]
    assert hash_of("a") == 0xE40C292C  # FNV-1a's published test vector
