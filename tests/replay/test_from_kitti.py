"""The converter on a clip of two made-up frames in KITTI's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ros_xai.core.geometry import pose
from ros_xai.data.kitti import KittiClip
from ros_xai.replay.bag import Bag
from ros_xai.replay.from_kitti import convert
from ros_xai.replay.static_transforms import between_sensors

T_CAMERA_LIDAR = pose([[0, -1, 0], [0, 0, -1], [1, 0, 0]], [0.06, -0.08, -0.27])
K = [[50.0, 0, 31], [0, 50, 15], [0, 0, 1]]


@pytest.fixture
def clip(tmp_path: Path) -> KittiClip:
    folder = tmp_path / "clip"
    (folder / "image").mkdir(parents=True)
    (folder / "lidar").mkdir()
    calibration = {
        "K": K,
        "T_camera_lidar": T_CAMERA_LIDAR.tolist(),
        "image_size": [64, 32],
        "frame_rate_hz": 10.0,
    }
    (folder / "calibration.json").write_text(json.dumps(calibration))
    rng = np.random.default_rng(0)
    for index in range(2):
        picture = np.full((32, 64, 3), (10, 60, 200), np.uint8)  # blue, green, red
        cv2.imwrite(str(folder / f"image/{index:06d}.jpg"), picture)
        np.savez(
            folder / f"lidar/{index:06d}.npz",
            xyz_cm=rng.integers(-2000, 2000, (640, 3)).astype(np.int16),
            ring=np.repeat(np.arange(64), 10).astype(np.uint8),
            intensity=np.full(640, 51, np.uint8),
        )
    return KittiClip(folder)


def messages(path: Path, topic: str) -> list[Any]:
    bag = Bag(path)
    return [bag.decode(record) for record in bag.records() if record.topic == topic]


def test_few_beams_go_to_the_nodes_and_all_to_the_ground_truth(
    clip: KittiClip, tmp_path: Path
) -> None:
    seen: list[int] = []
    convert(clip, tmp_path / "bag.mcap", (56, 8), lambda: seen.append(1))
    assert len(seen) == 2
    few, whole = (
        messages(tmp_path / "bag.mcap", "/lidar/points"),
        messages(tmp_path / "bag.mcap", "/gt/points"),
    )
    layout = np.dtype([("xyz", "<f4", 3), ("ring", "<u2"), ("intensity", "<f4")])
    for index, (kept, all_of_them) in enumerate(zip(few, whole)):
        points = kept.data.view(layout)
        xyz, ring, _ = clip.scan(index)
        np.testing.assert_array_equal(points["xyz"], xyz[(ring == 56) | (ring == 8)])
        assert set(points["ring"]) == {8, 56}
        assert points["intensity"][0] == pytest.approx(0.2)
        assert all_of_them.width == 640


def test_camera_transform_and_clock_are_the_clips(clip: KittiClip, tmp_path: Path) -> None:
    path = tmp_path / "bag.mcap"
    convert(clip, path)
    images, infos = messages(path, "/camera/image"), messages(path, "/camera/camera_info")
    np.testing.assert_allclose(images[0].data.reshape(32, 64, 3)[16, 32], (200, 60, 10), atol=3)
    np.testing.assert_array_equal(infos[0].k.reshape(3, 3), K)
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in images]
    assert stamps[1] - stamps[0] == 100_000_000
    T = between_sensors(Bag(path), "/camera/image", "/lidar/points")
    np.testing.assert_allclose(T, T_CAMERA_LIDAR, atol=1e-9)


def test_rings_that_nothing_belongs_to_are_refused(clip: KittiClip, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected some of 0 to 63"):
        convert(clip, tmp_path / "bag.mcap", (70,))
    assert not (tmp_path / "bag.mcap").exists()
