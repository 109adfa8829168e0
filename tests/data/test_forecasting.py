"""Scenes of a recording made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ros_xai.data.forecasting import (
    FINE,
    HISTORY,
    HORIZON,
    MAX_GAP,
    RECENT,
    SNAP,
    STEP,
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


def _at_ten_metres_a_second(time: np.ndarray) -> Recording:
    """One car along x; its heading turns by 0.1 rad/s, through pi after four seconds."""
    xy = np.stack([10 * time, 0 * time], axis=-1)[:, None]
    yaw = (0.1 * (time - 4)) % (2 * np.pi) - np.pi
    category, nothing = np.array(["vehicle"]), VectorMap((), (), ())
    return Recording("by hand", time, np.array(["car"]), category, xy, yaw[:, None], nothing)


def _jitter(amount: float) -> np.ndarray:
    return np.arange(140) * 0.1 + np.random.default_rng(0).uniform(-amount, amount, 140)


RATES = {f"{rate:g} Hz": np.arange(0, 14, 1 / rate) for rate in (2, 5, 8, 10, 12.5, 15, 20, 150)}
LOST = np.delete(np.arange(140) * 0.1, np.random.default_rng(0).choice(139, 7, replace=False) + 1)


@pytest.mark.parametrize(
    "time",
    [*RATES.values(), LOST, _jitter(0.04)],
    ids=[*RATES, "10 Hz, 5 % lost", "10 Hz, jitter of 40 ms"],
)
def test_six_seconds_ahead_are_sixty_metres_at_every_rate(time: np.ndarray) -> None:
    scenes = list(_at_ten_metres_a_second(time).scenes())
    assert len(scenes) >= 12
    for scene in scenes:
        assert scene.time in time  # where a node that answers has an answer
        assert scene.tracks.recent is not None
        for offset, x in (
            (STEP * np.arange(1 - HISTORY, 1), scene.tracks.xy[0, :, 0]),
            (STEP * np.arange(1, HORIZON + 1), scene.future[0, :, 0]),
            (FINE * np.arange(1 - RECENT, 1), scene.tracks.recent[0, :, 0]),
        ):
            at = scene.time + offset
            inside = (at > time[0] - 1e-9) & (at < time[-1] + 1e-9)
            ahead = x - 10 * scene.time
            assert ahead[inside] == pytest.approx(10 * offset[inside], abs=10 * SNAP)
            assert np.isnan(ahead[(at < time[0] - SNAP) | (at > time[-1] + SNAP)]).all()


def test_headings_between_frames_turn_the_short_way_round() -> None:
    scene = list(_at_ten_metres_a_second(RATES["12.5 Hz"]).scenes())[5]
    yaw = np.unwrap(scene.tracks.yaw[0])
    assert scene.time - 2 < 4 < scene.time
    assert yaw - yaw[-1] == pytest.approx(0.1 * STEP * np.arange(1 - HISTORY, 1))


def test_jitter_of_a_clock_is_no_reason_to_interpolate() -> None:
    recording = _at_ten_metres_a_second(_jitter(SNAP / 2))
    for k, scene in enumerate(recording.scenes()):
        frame = 5 * (k + HISTORY - 1)
        assert np.array_equal(scene.tracks.xy[0], recording.xy[frame - 20 : frame + 1 : 5, 0])


def test_what_an_agent_did_in_a_long_gap_is_unknown() -> None:
    time = np.arange(140) * 0.1
    short, long = time[(time < 4.05) | (time > 4.45)], time[(time < 4.05) | (time > 4.65)]
    assert np.diff(short).max() <= MAX_GAP < np.diff(long).max()
    bridged = next(_at_ten_metres_a_second(short).scenes(first=3))
    open_ = next(_at_ten_metres_a_second(long).scenes(first=3))
    assert bridged.time == open_.time == pytest.approx(2.3)
    assert bridged.future[0, :, 0] == pytest.approx(23 + 5.0 * np.arange(1, HORIZON + 1))
    assert np.flatnonzero(np.isnan(open_.future[0, :, 0])).tolist() == [3]  # 4.3 s


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
