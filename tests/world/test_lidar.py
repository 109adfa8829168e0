"""The LiDAR: ranges, rings, noise, drop-outs and motion against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ros_xai.core.geometry import pose, rotation_z, yaw
from ros_xai.world.drive import Drive
from ros_xai.world.lidar import Lidar, hdl64, sweep
from ros_xai.world.mesh import BUILDING, Material
from ros_xai.world.rays import Surface
from ros_xai.world.shapes import box

EXACT = Lidar(noise=0.0, drop_out=0.0, azimuth_step=1.0)


def room(material: Material = Material.PLAIN) -> list[Surface]:
    """A room 20 x 12 x 8 m around the sensor at 1.73 m."""
    return [Surface(box((20, 12, 8), (0, 0, 4.0), material, (0.4,) * 3, BUILDING))]


def scan(lidar: Lidar, seed: int = 0, T: np.ndarray | None = None, **more: object):  # type: ignore[no-untyped-def]
    T = pose(np.eye(3), (0, 0, 1.73)) if T is None else T
    return sweep(room(), lidar, T, np.random.default_rng(seed), **more)  # type: ignore[arg-type]


def test_points_lie_on_the_walls_in_the_sensor_frame() -> None:
    T = pose(rotation_z(0.5), (1.0, -2.0, 1.73))
    points = scan(EXACT, T=T).xyz.astype(float) @ T[:3, :3].T + T[:3, 3]
    centred = np.abs(points - [0, 0, 4]) - [10, 6, 4]
    gap = np.abs(centred.max(axis=1))
    assert len(points) == 360 * 64
    assert gap.max() < 1e-3


def test_rings_count_from_the_top_and_match_their_elevations() -> None:
    swept = scan(EXACT)
    elevation = np.rad2deg(np.arcsin(swept.xyz[:, 2] / np.linalg.norm(swept.xyz, axis=1)))
    assert np.allclose(elevation, np.array(hdl64())[swept.ring], atol=1e-3)
    assert hdl64()[0] == 2.0 and hdl64()[-1] == -24.8


@pytest.mark.parametrize("elevations", [(1.0, -1.5, -4.0, -8.0), hdl64(16)])
def test_any_list_of_beams(elevations: tuple[float, ...]) -> None:
    swept = scan(replace(EXACT, elevations=elevations))
    assert set(np.unique(swept.ring)) == set(range(len(elevations)))


def test_field_of_view_is_centred_ahead() -> None:
    swept = scan(replace(EXACT, field_of_view=90.0))
    azimuth = np.rad2deg(np.arctan2(swept.xyz[:, 1], swept.xyz[:, 0]))
    assert azimuth.max() == pytest.approx(45.0, abs=1e-3)
    assert azimuth.min() == pytest.approx(-44.0, abs=1e-3)


def test_range_noise_and_drop_outs_have_their_size() -> None:
    exact = scan(EXACT)
    noisy = scan(replace(EXACT, noise=0.05))
    error = np.linalg.norm(noisy.xyz, axis=1) - np.linalg.norm(exact.xyz, axis=1)
    assert error.std() == pytest.approx(0.05, rel=0.03) and abs(error.mean()) < 0.002
    kept = len(scan(replace(EXACT, drop_out=0.2)).xyz) / len(exact.xyz)
    assert kept == pytest.approx(0.8, abs=0.01)


def test_most_beams_are_lost_on_glass_and_beyond_the_range() -> None:
    T = pose(np.eye(3), (0, 0, 1.73))
    panes = sweep(room(Material.GLASS), EXACT, T, np.random.default_rng(0))
    assert len(panes.xyz) / (360 * 64) == pytest.approx(0.15, abs=0.01)
    assert len(scan(replace(EXACT, max_range=3.0)).xyz) == 0


def test_motion_distorts_a_raw_sweep_as_the_sensor_moves() -> None:
    velocity = np.array([10.0, 0.0, 0.0])
    moving = replace(EXACT, motion_distortion=True, elevations=(0.0,))
    raw = scan(moving, velocity=velocity)
    level = scan(replace(moving, motion_distortion=False), velocity=velocity)
    ahead = np.abs(level.xyz[:, 1]) < 1e-3
    ahead &= level.xyz[:, 0] > 0
    # fired at mid-sweep, half a metre before where the sensor ends: the wall is further away
    assert raw.time[ahead][0] == pytest.approx(0.05, abs=1e-3)
    assert (raw.xyz - level.xyz)[ahead, 0] == pytest.approx(
        10.0 * (0.1 - raw.time[ahead]), abs=1e-3
    )
    assert np.all(np.diff(raw.time) >= 0) and raw.time[-1] == pytest.approx(0.1)


def test_a_raw_sweep_is_turned_as_the_sensor_turns() -> None:
    rate = 0.4  # rad/s
    moving = replace(EXACT, motion_distortion=True, elevations=(0.0,))
    raw = scan(moving, velocity=np.zeros(3), yaw_rate=rate)
    heading = rate * (raw.time - 0.1)  # of the sensor at each firing; the sweep ends at 0
    c, s = np.cos(heading), np.sin(heading)
    x, y = raw.xyz[:, 0], raw.xyz[:, 1]
    walls = np.abs(np.stack([c * x - s * y, s * x + c * y])) - [[10], [6]]
    assert np.abs(walls.max(axis=0)).max() < 1e-3
    assert np.array_equal(scan(moving, velocity=np.zeros(3)).xyz[-1], raw.xyz[-1])
    still = replace(moving, motion_distortion=False)
    assert np.array_equal(scan(still, yaw_rate=rate).xyz, scan(still).xyz)


def test_a_drive_tells_its_sweeps_how_it_turns(small_drive: Drive) -> None:
    headings = [yaw(T) for T in small_drive.T_world_base]
    turned = np.diff(np.unwrap(headings))
    step = int(np.abs(turned).argmax())
    assert abs(turned[step]) > 0.01  # rad in 0.1 s
    assert small_drive.yaw_rate(step) == pytest.approx(turned[step - 1 : step + 1].mean() / 0.1)
    lidar = replace(EXACT, motion_distortion=True, elevations=(-8.0,))
    told: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ros_xai.world.drive.sweep", lambda *a: told.append(a[-1]))
        small_drive.sweep(step, lidar, [])
    assert told == [small_drive.yaw_rate(step)]


def test_same_generator_same_sweep() -> None:
    lidar = Lidar(azimuth_step=2.0)
    assert np.array_equal(scan(lidar, 3).xyz, scan(lidar, 3).xyz)
    assert not np.array_equal(scan(lidar, 3).xyz[:50], scan(lidar, 4).xyz[:50])
