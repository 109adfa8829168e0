"""Scores of forecasts that are known to be right, or wrong by a known amount."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ros_xai.data.forecasting import Recording
from ros_xai.forecasting.evaluation import (
    concatenate,
    predictions_of_points,
    score,
    summary,
)
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import Windows, windows


@pytest.fixture
def data(recording: Recording, raster: MapRaster) -> Windows:
    return windows(recording, raster, ContextConfig())


def _truth(data: Windows) -> np.ndarray:
    return np.nan_to_num(data.future.astype(float))[:, None]


def test_the_truth_scores_perfectly(data: Windows, raster: MapRaster) -> None:
    figures = summary(score(_truth(data), np.ones((len(data), 1)), data, raster))
    for name in ("ADE", "FDE", "FDE hardest 1 %", "minFDE5", "miss rate 5", "D"):
        assert figures[name] == pytest.approx(0, abs=1e-3), name
    assert figures["C(0.2 m)"] == figures["C(5 m)"] == 6.0


def test_a_constant_offset_is_found_again(data: Windows, raster: MapRaster) -> None:
    modes = np.concatenate([_truth(data) + np.array([3.0, 4.0]), _truth(data)], axis=1)
    probabilities = np.tile([0.6, 0.4], (len(data), 1))
    figures = summary(score(modes, probabilities, data, raster))
    assert (figures["ADE"], figures["FDE"]) == pytest.approx((5, 5), abs=1e-3)
    assert (figures["minADE5"], figures["minFDE5"]) == pytest.approx((0, 0), abs=1e-3)
    assert figures["C(1 m)"] == 0.0


def test_points_carry_the_forecasts_made_for_them(data: Windows) -> None:
    """Forecasts that hold the time of their making: of a point they count down its past."""
    paths = np.repeat(data.time[:, None, None], 12, axis=1) * np.ones(2)
    agent, predictions, points = predictions_of_points(data, paths)
    assert len(agent) == len(points) > 20
    made = predictions[..., 0]
    assert np.diff(made, axis=1) == pytest.approx(-0.5)
    # The point itself is where its agent was half a second after the newest of them.
    for name, newest, point in list(zip(agent, made[:, 0], points))[::7]:
        row = (data.agent == name) & np.isclose(data.time, newest + 0.5)
        assert data.past[row, -1][0] == pytest.approx(point)


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_the_truth_is_stable_at_frames_that_are_no_half_seconds_apart(
    recording: Recording, raster: MapRaster, offset: float
) -> None:
    """15 Hz, straight on at 10 m/s: instants are up to a thirtieth of a second off."""
    time = offset + np.arange(300) / 15
    xy = np.stack([10 * time - 100, np.zeros(300)], axis=1)[:, None]
    one = {"id": recording.id[:1], "category": recording.category[:1], "yaw": np.zeros((300, 1))}
    data = windows(replace(recording, time=time, xy=xy, **one), raster, ContextConfig())
    data = data[np.isfinite(data.future).all((1, 2))]
    scores = score(_truth(data), np.ones((len(data), 1)), data, raster)
    assert len(scores.dispersion) > 10
    figures = summary(scores)
    assert figures["D"] == pytest.approx(0, abs=1e-3)
    assert figures["C(0.2 m)"] == 6.0


def test_agents_seen_too_shortly_have_no_points(data: Windows) -> None:
    early = data[data.time < 7.9]
    assert len(predictions_of_points(early, np.zeros((len(early), 12, 2)))[0]) == 0
    figures = score(_truth(early), np.ones((len(early), 1)), early, _road())
    assert figures.dispersion.shape == (0,)
    assert figures.convergence.shape == (0, 3)


def _road() -> MapRaster:
    return MapRaster(np.full((8, 8, 3), 255, dtype=np.uint8), np.array([-4.0, -4.0]), 1.0)


def test_figures_are_means_over_forecasts_not_over_recordings(
    data: Windows, raster: MapRaster
) -> None:
    many = score(_truth(data) + np.array([1.0, 0.0]), np.ones((len(data), 1)), data, raster)
    few = data[np.flatnonzero(data.scored)[:5]]
    one = score(_truth(few) + np.array([9.0, 0.0]), np.ones((5, 1)), few, raster)
    n = int(data.scored.sum())
    together = summary(concatenate([many, one]))
    assert together["FDE"] == pytest.approx((n * 1.0 + 5 * 9.0) / (n + 5), abs=1e-3)
