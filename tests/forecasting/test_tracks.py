"""Buffers of tracks: irregular stamps, tracks that are lost, come back or change their agent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.data.forecasting import FINE, HISTORY, RECENT, STEP
from ros_xai.forecasting.tracks import BufferConfig, Observations, TrackBuffers, resampled

START = 1_700_000_000_000_000_000


def at(seconds: float) -> int:
    return START + round(seconds * 1e9)


def seen(*agents: tuple[str, str, float, float, float]) -> Observations:
    names, categories, x, y, yaw = zip(*agents) if agents else ((), (), (), (), ())
    return Observations(
        np.array(names, str),
        np.array(categories, str),
        np.array([x, y], float).T.reshape(-1, 2),
        np.array(yaw, float),
    )


def drive(buffers: TrackBuffers, times: np.ndarray, speed: float = 8.0, name: str = "7") -> None:
    for t in times:
        buffers.observe(at(t), seen((name, "vehicle", speed * t, 1.0, 0.2)))


@given(st.lists(st.floats(0.02, 0.3), min_size=20, max_size=80))
def test_steady_motion_is_resampled_exactly_from_any_stamps(gaps: list[float]) -> None:
    times = np.cumsum(gaps)
    buffers = TrackBuffers()
    drive(buffers, times)
    tracks = buffers.tracks()
    now = (at(times[-1]) - START) * 1e-9
    instants = now - STEP * np.arange(HISTORY)[::-1]
    known = instants >= times[0]
    assert tracks.xy[0, known, 0] == pytest.approx(8 * instants[known], abs=1e-5)
    assert tracks.xy[0, known, 1] == pytest.approx(1.0)
    assert tracks.yaw[0, known] == pytest.approx(0.2)
    assert np.isnan(tracks.xy[0, instants < times[0] - 0.002]).all()
    assert tracks.recent is not None
    fine = now - FINE * np.arange(RECENT)[::-1]
    whole = fine >= times[0]
    assert tracks.recent[0, whole, 0] == pytest.approx(8 * fine[whole], abs=1e-5)


def test_headings_are_interpolated_the_short_way_round() -> None:
    _, yaw = resampled(
        np.array([0.0, 1.0]), np.zeros((2, 2)), np.array([3.1, -3.1]), np.array([0.5])
    )
    assert abs(yaw[0]) == pytest.approx(np.pi)


def test_two_seconds_are_kept_and_no_more() -> None:
    buffers = TrackBuffers()
    drive(buffers, np.arange(0, 60, 0.1))
    assert len(buffers._tracks["7"].stamps) <= 22
    assert np.isfinite(buffers.tracks().xy).all()


def test_a_short_gap_is_bridged_and_a_long_one_begins_anew() -> None:
    bridged, anew = TrackBuffers(BufferConfig(max_gap=1.0)), TrackBuffers(BufferConfig(max_gap=1.0))
    drive(bridged, np.r_[np.arange(0, 2, 0.1), 2.7])
    assert bridged.tracks().xy[0, :, 0] == pytest.approx(8 * np.array([0.7, 1.2, 1.7, 2.2, 2.7]))
    drive(anew, np.arange(0, 2, 0.1))
    amiss = anew.observe(at(3.5), seen(("7", "vehicle", 28.0, 1.0, 0.2)))
    assert dict(amiss) == {"reappeared": 1}
    assert np.isnan(anew.tracks().xy[0, :-1]).all() and anew.tracks().xy[0, -1, 0] == 28.0


def test_a_lost_track_is_not_forecast_and_is_forgotten() -> None:
    buffers = TrackBuffers()
    drive(buffers, np.arange(0, 2, 0.1))
    for t in np.arange(2, 7, 0.1):
        buffers.observe(at(t), seen(("8", "vehicle", 0.0, 0.0, 0.0)))
        assert buffers.tracks().id.tolist() == ["8"]
    assert len(buffers) == 1


def test_an_id_given_to_another_agent_begins_anew() -> None:
    buffers = TrackBuffers()
    drive(buffers, np.arange(0, 2, 0.1))
    amiss = buffers.observe(at(2.0), seen(("7", "vehicle", 90.0, 1.0, 0.2)))
    assert dict(amiss) == {"id_switch": 1}
    assert np.isnan(buffers.tracks().xy[0, :-1]).all()
    amiss = buffers.observe(at(2.1), seen(("7", "pedestrian", 90.0, 1.0, 0.2)))
    assert dict(amiss) == {"category_change": 1}
    assert buffers.tracks().category.tolist() == ["pedestrian"]


def test_of_an_id_twice_in_one_message_the_first_counts() -> None:
    buffers = TrackBuffers()
    amiss = buffers.observe(at(0), seen(("1", "vehicle", 1, 1, 0), ("1", "vehicle", 9, 9, 0)))
    assert dict(amiss) == {"duplicate_id": 1}
    assert buffers.tracks().xy[:, -1].tolist() == [[1, 1]]


def test_stamps_must_rise() -> None:
    buffers = TrackBuffers()
    buffers.observe(at(1), seen())
    with pytest.raises(ValueError, match="expected a stamp after"):
        buffers.observe(at(1), seen())
    buffers.clear()
    buffers.observe(at(0), seen())
    assert len(buffers.tracks().id) == 0
