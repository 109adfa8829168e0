"""Samples keep points, pixels and intrinsics together through resizing, cropping and choosing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.core.camera import back_project, project
from ros_xai.core.geometry import invert, pose, transform
from ros_xai.data.depth import DepthSample, KittiDrive, Loaded, WorldDrive, world_drives
from ros_xai.data.kitti import RINGS, KittiClip

K = np.array([[60.0, 0, 31.5], [0, 60, 15.5], [0, 0, 1]])


def sample() -> DepthSample:
    rng = np.random.default_rng(0)
    depth = np.full((32, 64), 8.0, dtype=np.float32)
    points = back_project(depth, K).reshape(-1, 3)[::7].astype(np.float32)
    return DepthSample(
        rng.integers(0, 256, (32, 64, 3), dtype=np.uint8),
        K,
        points,
        rng.integers(0, 4, len(points)).astype(np.uint8),
        depth,
        np.zeros((32, 64), dtype=bool),
    )


def test_sparse_depth_has_the_chosen_beams_only():
    one = sample()
    whole, beam = one.sparse_depth(), one.sparse_depth([2])
    assert (whole > 0).sum() == len(one.points)
    assert (beam > 0).sum() == (one.ring == 2).sum()
    assert np.array_equal(beam, one.beams([2]).sparse_depth())
    assert not one.sparse_depth([]).any()


@given(st.integers(1, 4), st.integers(1, 4))
def test_resizing_moves_a_point_as_it_moves_its_pixel(rows, columns):
    one = sample()
    other = one.resized(32 * rows, 64 * columns)
    before, after = (project(one.points, s.intrinsics) for s in (one, other))
    assert np.allclose(after + 0.5, (before + 0.5) * (columns, rows), atol=1e-4)
    assert other.image.shape == (*other.depth.shape, 3) == (32 * rows, 64 * columns, 3)
    assert set(np.unique(other.depth)) == {8.0}


def test_cropping_moves_the_principal_point():
    one = sample()
    cut = one.cropped(4, 11, 16, 20)  # by no multiple of the points' distance
    assert np.array_equal(cut.image, one.image[4:20, 11:31])
    assert np.array_equal(cut.sparse_depth(), one.sparse_depth()[4:20, 11:31])
    assert cut.depth.shape == cut.co_moving.shape == (16, 20)


def world_file(folder: Path) -> Path:
    """Two frames, a wall and two instances: one at the ego's speed, one parked."""
    T_camera_lidar = pose(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), [0, -0.1, -0.3])
    depth = np.full((2, 32, 64), 8.0, dtype=np.float32)
    instance = np.zeros((2, 32, 64), dtype=np.uint16)
    instance[:, 10:22, 20:32] = 3
    instance[:, 10:22, 40:52] = 9
    points = transform(invert(T_camera_lidar), back_project(depth[0], K).reshape(-1, 3))
    T = np.stack([np.eye(4), pose(np.eye(3), [0.3, 0.4, 0])])
    path = folder / "sequence_0000.npz"
    np.savez(
        path,
        image=np.zeros((2, 32, 64, 3), dtype=np.uint8),
        depth=depth,
        instance=instance,
        intrinsics=K,
        T_world_camera=T,
        T_camera_lidar=T_camera_lidar,
        lidar_xyz=np.concatenate([points, points[:5]]).astype(np.float32),
        lidar_ring=np.zeros(len(points) + 5, dtype=np.uint8),
        lidar_offsets=np.array([0, len(points), len(points) + 5]),
        instance_ids=np.array([3, 9], dtype=np.uint16),
        instance_velocity=np.array([[[5.0, 0.2], [0, 0]], [[np.nan, np.nan], [0, 0]]]),
        ego_velocity=np.array([[5.0, 0], [5, 0]], dtype=np.float32),
    )
    return path


def test_world_frames_have_points_in_the_camera_and_truth(tmp_path):
    drive = WorldDrive(world_file(tmp_path))
    first, second = drive[0], drive[1]
    assert len(drive) == 2
    assert len(first.points) == 32 * 64
    assert len(second.points) == 5
    assert np.allclose(first.sparse_depth(), 8.0, atol=1e-4)
    assert (first.distance, second.distance) == pytest.approx((0, 0.5))


def test_only_what_moves_with_the_ego_is_co_moving(tmp_path):
    drive = WorldDrive(world_file(tmp_path))
    expected = np.zeros((32, 64), dtype=bool)
    expected[10:22, 20:32] = True
    assert np.array_equal(drive[0].co_moving, expected)
    assert not drive[1].co_moving.any()  # speed unknown


def test_few_pixels_at_the_egos_speed_are_no_co_moving_object(tmp_path):
    drive = WorldDrive(world_file(tmp_path))
    instance = np.zeros((2, 32, 64), dtype=np.uint16)
    instance[:, 0, 0] = 9
    instance[:, 10, :50], instance[:, 11, :50] = 3, 3
    drive.arrays["instance"] = instance
    assert drive[0].co_moving.sum() == 100
    instance[:, 11, 49] = 0
    assert not drive[0].co_moving.any()


def test_nothing_is_co_moving_with_an_ego_at_rest(tmp_path):
    drive = WorldDrive(world_file(tmp_path))
    drive.arrays["ego_velocity"] = np.zeros((2, 2))
    assert not drive[0].co_moving.any()


def test_world_folder_without_sequences_says_how_to_get_some(tmp_path):
    with pytest.raises(FileNotFoundError, match="ros_xai world dataset depth"):
        world_drives(tmp_path)
    world_file(tmp_path)
    assert [d.name for d in world_drives(tmp_path)] == ["sequence_0000"]


def test_loaded_drive_is_the_drive(tmp_path):
    drive = WorldDrive(world_file(tmp_path))
    loaded, small = Loaded.of(drive), Loaded.resized(drive, (16, 32))
    assert len(loaded) == len(small) == 2
    assert np.array_equal(loaded[1].points, drive[1].points)
    assert small[0].image.shape == (16, 32, 3)


def test_samples_without_truth_stay_without(tmp_path):
    bare = replace(sample(), depth=None, co_moving=None)
    assert bare.resized(16, 32).cropped(0, 0, 8, 8).depth is None


def test_kitti_drive_projects_where_the_clip_does(data_dir: Path):
    clip = KittiClip(data_dir / "kitti")
    frame = KittiDrive(clip, range(48, 60))[2]
    assert np.array_equal(frame.image, clip.image(50))
    sparse = frame.sparse_depth(RINGS)
    assert 1000 < (sparse > 0).sum() < 4000
    assert 4 < np.median(sparse[sparse > 0]) < 20
