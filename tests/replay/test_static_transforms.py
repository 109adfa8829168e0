"""T_camera_lidar from /tf_static: chains in either direction, and bags that lack a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ros_xai.core.geometry import invert, pose
from ros_xai.replay.bag import Bag
from ros_xai.replay.static_transforms import between_sensors, chained
from ros_xai.world import bag_messages
from ros_xai.world.bag_writer import BagWriter


def random_pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return pose(Rotation.random(rng=rng).as_matrix(), rng.normal(size=3))


@given(st.integers(0, 1000))
def test_a_chain_multiplies_its_links_and_turns_back(seed: int) -> None:
    A, B, C = (random_pose(seed + offset) for offset in range(3))
    edges = {
        "base": {"lidar": A, "mount": B},
        "lidar": {"base": invert(A)},
        "mount": {"base": invert(B), "camera": C},
        "camera": {"mount": invert(C)},
    }
    T = chained(edges, "camera", "lidar")
    np.testing.assert_allclose(T, np.linalg.inv(B @ C) @ A, atol=1e-9)
    np.testing.assert_allclose(chained(edges, "lidar", "camera"), np.linalg.inv(T), atol=1e-9)


def test_unconnected_frames_have_no_transform() -> None:
    assert chained({"a": {"b": np.eye(4)}}, "b", "c") is None


def test_transform_is_found_between_the_frames_of_the_two_topics(bag_of: Any) -> None:
    A, B = random_pose(1), random_pose(2)

    def write(bag: BagWriter) -> None:
        zero = bag_messages.transforms(1, [("lidar", "optical", A)])
        rotation = zero.transforms[0].transform.rotation
        rotation.x = rotation.y = rotation.z = rotation.w = 0.0
        bag.message("/tf_static", 1, zero)
        bag.image("/camera", 1, "optical", np.zeros((1, 1), np.uint8), "mono8")
        bag.points("/points", 2, "lidar", np.zeros((1, 3), np.float32))
        bag.transforms("/tf_static", 3, [("base", "lidar", A)])
        bag.cdr("/tf_static", "tf2_msgs/msg/TFMessage", b"\x00\x01\x00\x00\xff", 4)
        bag.transforms("/tf_static", 5, [("base", "optical", B)])

    bag = Bag(bag_of(write))
    T = between_sensors(bag, "/camera", "/points")
    np.testing.assert_allclose(T, np.linalg.inv(B) @ A, atol=1e-9)
    assert between_sensors(bag, "/camera", "/none") is None


def test_the_drive_gives_its_own_transform(drive: Path) -> None:
    T = between_sensors(Bag(drive), "/camera/image", "/lidar/points")
    # 10 m ahead of the LiDAR is 10 m along the optical axis, 0.1 m above it.
    np.testing.assert_allclose(T @ [10, 0, 0, 1], [0, -0.1, 10, 1], atol=1e-9)
