"""The KITTI clip as the calibration says, and errors that name what is missing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros_xai.core.camera import project
from ros_xai.core.geometry import transform
from ros_xai.data.kitti import RINGS, KittiClip


@pytest.fixture
def clip(data_dir: Path) -> KittiClip:
    return KittiClip(data_dir / "kitti")


def test_clip_has_the_frames_of_its_description(clip):
    assert len(clip) == 60
    assert clip.image(0).shape == (clip.height, clip.width, 3) == (375, 1242, 3)
    assert clip.rate_hz == 10
    assert clip.intrinsics[0, 0] == pytest.approx(721.5377)


def test_scan_is_metric_and_falls_into_the_image(clip):
    xyz, ring, intensity = clip.scan(45)
    assert xyz.dtype == np.float32
    assert len(xyz) == len(ring) == len(intensity)
    assert ring.max() <= 63
    assert 2 < np.linalg.norm(xyz, axis=1).min() < np.linalg.norm(xyz, axis=1).max() < 130
    pixels = project(transform(clip.T_camera_lidar, xyz), clip.intrinsics)
    assert ((pixels > -60) & (pixels < (1242 + 60, 375 + 60))).all()  # kept: in or near the image


def test_lower_rings_look_further_down(clip):
    xyz, ring, _ = clip.scan(10)
    elevation = np.degrees(np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1])))
    means = [elevation[ring == r].mean() for r in sorted(RINGS) if (ring == r).any()]
    assert len(means) >= 3
    assert (np.diff(means) < -4).all()


def test_colours_are_rgb(clip):
    """The red tarpaulin of the truck ahead on the left."""
    patch = clip.image(33)[190:230, 330:420].reshape(-1, 3).mean(0)
    assert patch[0] > 1.5 * patch[2]


def test_a_folder_without_a_clip_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a KITTI clip"):
        KittiClip(tmp_path)


CALIBRATION = {
    "K": np.eye(3).tolist(),
    "T_camera_lidar": np.eye(4).tolist(),
    "image_size": [8, 6],
    "frame_rate_hz": 10,
}


def written(folder: Path, calibration: dict, sweep: bytes = b"") -> Path:
    """A clip of one frame."""
    for name in ("image", "lidar"):
        (folder / name).mkdir()
    (folder / "calibration.json").write_text(json.dumps(calibration))
    cv2.imwrite(str(folder / "image/000000.jpg"), np.zeros((6, 8, 3), np.uint8))
    (folder / "lidar/000000.npz").write_bytes(sweep)
    return folder


@pytest.mark.parametrize(
    "wrong",
    [{"K": None}, {"K": [1, 2]}, {"image_size": [8]}, {"frame_rate_hz": "fast"}],
)
def test_a_calibration_of_something_else_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected K"):
        KittiClip(written(tmp_path, CALIBRATION | wrong))


def test_a_calibration_without_a_matrix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got KeyError"):
        KittiClip(written(tmp_path, {"K": CALIBRATION["K"]}))


def test_a_sweep_that_is_cut_off_is_named(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, xyz_cm=np.ones((3, 3), np.int16), ring=np.zeros(3), intensity=np.zeros(3))
    clip = KittiClip(written(tmp_path, CALIBRATION, stream.getvalue()))
    assert clip.scan(0)[0].tolist() == [[np.float32(0.01)] * 3] * 3
    for sweep in (stream.getvalue()[:-30], b"junk", b""):
        (tmp_path / "lidar/000000.npz").write_bytes(sweep)
        with pytest.raises(OSError, match=r"000000.npz as a sweep"):
            clip.scan(0)
