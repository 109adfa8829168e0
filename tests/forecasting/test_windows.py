"""What the network is shown: never the future, never the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ros_xai.data.forecasting import HISTORY, HORIZON, Recording, Tracks, VectorMap
from ros_xai.forecasting.features import (
    ContextConfig,
    extrapolated_past,
    features,
    track_states,
)
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.forecasting.windows import Windows, concatenate, windows, with_tracking_noise

CONFIG = ContextConfig()


def _at(data: Windows, time: float) -> Windows:
    return data[np.isclose(data.time, time)]


def test_nothing_after_the_present_reaches_the_input(
    recording: Recording, raster: MapRaster
) -> None:
    now = 60
    xy, yaw = recording.xy.copy(), recording.yaw.copy()
    xy[now + 1 :] += np.random.default_rng(0).normal(scale=5, size=xy[now + 1 :].shape)
    yaw[now + 1 :] += 1.0
    changed = replace(recording, xy=xy, yaw=yaw)
    before = _at(windows(recording, raster, CONFIG), recording.time[now])
    after = _at(windows(changed, raster, CONFIG), recording.time[now])
    assert len(before) > 5
    assert not np.allclose(before.future, after.future)
    for name, column in vars(before.features).items():
        assert np.array_equal(column, getattr(after.features, name)), name


def test_the_present_reaches_the_input(recording: Recording, raster: MapRaster) -> None:
    now = 60
    xy = recording.xy.copy()
    xy[now] += 0.5
    before = _at(windows(recording, raster, CONFIG), recording.time[now])
    after = _at(windows(replace(recording, xy=xy), raster, CONFIG), recording.time[now])
    assert not np.allclose(before.features.history[:, -1], after.features.history[:, -1])


def test_a_braking_agent_has_the_speed_of_now(recording: Recording, raster: MapRaster) -> None:
    time = recording.time
    braking = np.stack([14 * time - 0.75 * time**2, 0 * time], axis=-1)
    xy = recording.xy.copy()
    xy[:, 0] = braking
    yaw = recording.yaw.copy()
    yaw[:, 0] = 0
    data = _at(windows(replace(recording, xy=xy, yaw=yaw), raster, CONFIG), time[50])
    state = data.features.history[list(data.agent).index("town 0/agent 0"), -1]
    assert state[2:6] == pytest.approx([14 - 1.5 * 5, 0, -1.5, 0], abs=1e-3)


def _moved(recording: Recording, angle: float, shift: np.ndarray) -> Recording:
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, -s], [s, c]])
    layers = (tuple(line @ R.T + shift for line in layer) for layer in vars(recording.map).values())
    return replace(
        recording,
        xy=recording.xy @ R.T + shift,
        yaw=recording.yaw + angle,
        map=VectorMap(*layers),
    )


def test_inputs_do_not_depend_on_the_map_frame(recording: Recording, raster: MapRaster) -> None:
    moved = _moved(recording, 0.8, np.array([5000.0, -3000.0]))
    ours = windows(recording, raster, CONFIG)
    theirs = windows(moved, rasterize(moved.map), CONFIG)
    assert np.allclose(ours.features.history, theirs.features.history, atol=1e-3)
    assert np.allclose(ours.features.neighbours, theirs.features.neighbours, atol=1e-3)
    assert np.array_equal(ours.features.neighbour_kind, theirs.features.neighbour_kind)
    assert np.allclose(ours.future, theirs.future, atol=1e-3, equal_nan=True)
    difference = ours.features.map.astype(float) - theirs.features.map
    assert np.abs(difference).mean() < 2


def test_histories_end_at_the_origin_heading_along_x(
    recording: Recording, raster: MapRaster
) -> None:
    data = windows(recording, raster, CONFIG)
    assert data.features.history[:, -1, :2] == pytest.approx(0, abs=1e-5)
    assert data.features.history[:, -1, 6] == pytest.approx(0, abs=1e-5)
    assert (data.features.history[:, -1, 2] > 0).all()


def test_the_future_leads_back_into_the_map_frame(recording: Recording, raster: MapRaster) -> None:
    data = windows(recording, raster, CONFIG)
    i = int(np.flatnonzero(data.scored)[7])
    agent = recording.id == data.agent[i].split("/")[1]
    now = round(data.time[i] * 10)
    truth = recording.xy[now + 5 : now + 5 * HORIZON + 1 : 5, agent][:, 0]
    assert data.in_map(data.future.astype(float))[i] == pytest.approx(truth, abs=1e-3)


def test_only_agents_to_forecast_have_windows(recording: Recording, raster: MapRaster) -> None:
    names = {name.split("/")[1] for name in windows(recording, raster, CONFIG).agent}
    assert names == {f"agent {a}" for a in range(12) if a % 4 != 3}


def test_windows_are_scored_when_the_whole_future_is_known(
    recording: Recording, raster: MapRaster
) -> None:
    data = windows(recording, raster, CONFIG)
    assert (data.time[data.scored].max(), data.time.min()) == (9.5, 2.0)
    assert np.isfinite(data.future[data.scored]).all()
    both = concatenate([data, data[data.scored]])
    assert len(both) == len(data) + data.scored.sum()


def _tracks(xy: np.ndarray, category: list[str]) -> Tracks:
    """Agents that stand at the positions xy [A,2], heading along x."""
    count = len(xy)
    return Tracks(
        id=np.arange(count).astype(str),
        category=np.array(category),
        xy=np.repeat(xy[:, None], HISTORY, axis=1),
        yaw=np.zeros((count, HISTORY)),
    )


def test_neighbours_are_the_nearest_in_range_of_their_kind(raster: MapRaster) -> None:
    xy = np.array([[0, 0], [29, 0], [31, 0], [0, 19], [0, 21], [0, -5.0]])
    kinds = ["vehicle", "vehicle", "vehicle", "pedestrian", "pedestrian", "trailer"]
    tracks = _tracks(xy, kinds)
    seen = features(track_states(tracks), tracks.category, np.array([0]), raster, CONFIG)
    assert seen.neighbour_kind.tolist() == [[1, 2, 1, 0, 0, 0, 0, 0]]
    assert seen.neighbours[0, :3, -1, :2].tolist() == [[0, -5], [0, 19], [29, 0]]
    assert not seen.neighbours[0, 3:].any()


def test_a_crowd_is_cut_to_the_nearest(raster: MapRaster) -> None:
    xy = np.stack([np.arange(20.0), np.zeros(20)], axis=-1)
    tracks = _tracks(xy, ["vehicle"] * 20)
    seen = features(track_states(tracks), tracks.category, np.array([0, 19]), raster, CONFIG)
    assert sorted(seen.neighbours[0, :, -1, 0]) == list(range(1, 9))
    assert sorted(seen.neighbours[1, :, -1, 0]) == list(range(-8, 0))


def test_missing_past_is_filled_from_what_came_after() -> None:
    xy = np.full((3, HISTORY, 2), np.nan)
    xy[0, 2:, 0] = [4, 6, 9]
    xy[0, 2:, 1] = 1
    xy[1, -1] = 5, 5
    xy[2, [0, 1, 3, 4], 0] = [0, 1, 3, 4]
    xy[2, [0, 1, 3, 4], 1] = 0
    yaw = np.where(np.isnan(xy[..., 0]), np.nan, 0.3)
    filled, heading = extrapolated_past(xy, yaw)
    assert filled[0].tolist() == [[0, 1], [2, 1], [4, 1], [6, 1], [9, 1]]
    assert filled[1] == pytest.approx(np.full((HISTORY, 2), 5))
    assert filled[2, :, 0].tolist() == [0, 1, 2, 3, 4]
    assert heading == pytest.approx(np.full((3, HISTORY), 0.3))


def test_tracking_noise_has_the_stated_size(recording: Recording) -> None:
    noisy = with_tracking_noise(recording, np.random.default_rng(0))
    assert (noisy.xy - recording.xy).std() == pytest.approx(0.05, rel=0.1)
    assert (noisy.yaw - recording.yaw).std() == pytest.approx(0.01, rel=0.1)
