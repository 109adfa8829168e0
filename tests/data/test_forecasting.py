"""Scenes of a recording made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ros_xai.data.forecasting import (
    HISTORY,
    HORIZON,
    Recording,
    VectorMap,
    read_world,
    world_recordings,
)


def _recording(frames: int = 120, agents: int = 3) -> Recording:
    """Agent a stands at (0, a) until frame 40 and then drives along x at a m/s."""
    time = np.arange(frames) * 0.1
    x = np.maximum(time - 4.0, 0)[:, None] * np.arange(agents)
    y = np.broadcast_to(np.arange(agents), x.shape)
    return Recording(
        name="by hand",
        time=time,
        id=np.array([f"agent {a}" for a in range(agents)]),
        category=np.array(["vehicle", "pedestrian", "two-wheeler"][:agents]),
        xy=np.stack([x, y], axis=-1).astype(float),
        yaw=np.zeros((frames, agents)),
        map=VectorMap((), (), ()),
    )


def test_scenes_come_every_half_second_with_past_and_future_of_each_agent() -> None:
    recording = _recording()
    scenes = list(recording.scenes())
    assert [scene.time for scene in scenes[:3]] == pytest.approx([2.0, 2.5, 3.0])
    assert len(scenes) == 120 // 5 - HISTORY + 1
    scene = scenes[4]  # 4.0 s
    assert scene.future[2, :, 0] == pytest.approx(2 * 0.5 * np.arange(1, HORIZON + 1))
    assert scenes[6].tracks.xy[2, :, 0] == pytest.approx([0, 0, 0, 1.0, 2.0])


def test_another_first_frame_gives_other_instants() -> None:
    assert next(_recording().scenes(first=3)).time == pytest.approx(2.3)


def test_agents_absent_at_the_present_are_left_out_and_gaps_are_nan() -> None:
    recording = _recording()
    recording.xy[20, 0] = np.nan
    recording.xy[15, 1] = np.nan
    first = next(recording.scenes())
    assert list(first.tracks.id) == ["agent 1", "agent 2"]
    assert np.isnan(first.tracks.xy[0, 3]).all()
    assert list(first.complete()) == [False, True]


def test_futures_beyond_the_recording_are_nan() -> None:
    last = list(_recording().scenes())[-1]
    assert np.isnan(last.future).all()
    assert not last.complete().any()


def test_who_moves_is_told_by_displacement() -> None:
    scene = list(_recording().scenes())[4]
    assert list(scene.moving()) == [False, True, True]
    assert list(scene.moving(in_future=7.0)) == [False, False, True]
    assert list(scene.forecastable()) == [True, False, True]


def test_a_traffic_file_is_read_with_the_map_beside_it(tmp_path: Path) -> None:
    xy = np.zeros((30, 2, 2), dtype=np.float32)
    xy[:10, 1] = np.nan
    np.savez(
        tmp_path / "traffic_0007.npz",
        time=np.arange(30) * 0.1,
        id=np.array([4, 9]),
        category=np.array(["bus", "bicycle"]),
        size=np.ones((2, 2)),
        xy=xy,
        yaw=np.zeros((30, 2), dtype=np.float32),
        speed=np.zeros((30, 2), dtype=np.float32),
    )
    square = [[0, 0], [4, 0], [4, 3], [0, 3]]
    layers = {"lanes": [{"id": "a"}], "drivable": [square], "dividers": [square[:2]]}
    (tmp_path / "map_0007.json").write_text(json.dumps({**layers, "crossings": []}))
    (path,) = world_recordings(tmp_path)
    recording = read_world(path)
    assert list(recording.category) == ["vehicle", "two-wheeler"]
    assert list(recording.id) == ["4", "9"]
    assert recording.map.drivable[0].tolist() == square
    assert recording.map.crossings == ()
    assert [len(scene.tracks.id) for scene in recording.scenes()] == [2, 2]


def test_a_folder_without_traffic_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="world dataset forecasting"):
        world_recordings(tmp_path)
