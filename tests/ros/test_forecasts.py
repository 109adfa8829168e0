"""Forecasts as messages: rows and lines of two agents that are written out here."""

from __future__ import annotations

import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from ros_xai.data.forecasting import HORIZON
from ros_xai.forecasting.forecaster import Forecast
from ros_xai.forecasting.stability import Stability
from ros_xai.ros import forecasts

NUMBERS = np.array([7, 2**32 - 1], dtype=np.uint32)
PRESENT = np.array([[0.0, 0.0], [9.0, -9.0]])


def forecast() -> Forecast:
    """Two agents, three modes: mode k of agent i goes k + 1 m a step along x from (0, 10 i)."""
    steps = np.arange(1, HORIZON + 1)
    modes = np.zeros((2, 3, HORIZON, 2))
    modes[..., 0] = np.array([1, 2, 3])[:, None] * steps
    modes[1, ..., 1] = 10
    covariances = np.zeros((2, 3, HORIZON, 2, 2))
    covariances[...] = [[4.0, 1.0], [1.0, 9.0]]
    covariances[:, 2] *= 4
    return Forecast(
        id=np.array(["7", "-1"]),
        modes=modes,
        covariances=covariances,
        probabilities=np.array([[0.1, 0.2, 0.7], [0.5, 0.45, 0.05]]),
        divergence=np.array([0.3, 0.01]),
        ignores_context=np.array([False, True]),
        attribution=np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    )


def test_rows_are_modes_by_falling_probability_with_their_own_spread() -> None:
    rows = forecasts.points(forecast(), NUMBERS).reshape(2, 3, HORIZON)
    assert rows["x"][:, :, 0].tolist() == [[3, 2, 1], [1, 2, 3]]
    assert (rows["y"] == np.array([0, 10])[:, None, None]).all()
    assert rows["t"][0, 0].tolist() == [0.5 * k for k in range(1, 13)]
    assert rows["track_id"][:, 0, 0].tolist() == NUMBERS.tolist()
    assert rows["mode"][0, :, 0].tolist() == [0, 1, 2]
    assert rows["probability"][:, :, 0].tolist() == [[0.7, 0.2, 0.1], [0.5, 0.45, 0.05]]
    assert rows["sigma_x"][:, :, -1].tolist() == [[4, 2, 2], [2, 2, 4]]  # roots of the variances
    assert rows["sigma_y"][:, :, -1].tolist() == [[6, 3, 3], [3, 3, 6]]


def test_attribution_and_stability_name_the_agent() -> None:
    found = forecasts.attribution(forecast(), NUMBERS)
    assert found["track_id"].tolist() == NUMBERS.tolist()
    columns = [found[name].tolist() for name in ("state", "map", "neighbours", "ignores_context")]
    assert columns == [[1, 4], [2, 5], [3, 6], [0, 1]]
    assert found["divergence"] == pytest.approx([0.3, 0.01])
    stable = Stability(np.array([0.5, np.nan]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    rows = forecasts.stability(stable, PRESENT, NUMBERS, (0.5, 2.0))
    assert [*zip(rows["x"], rows["y"])] == [(0, 0), (9, -9)]
    assert rows["convergence_0.5m"].tolist() == [1, 3]
    assert rows["convergence_2m"].tolist() == [2, 4]
    assert rows["dispersion"][0] == 0.5 and np.isnan(rows["dispersion"][1])


def test_lines_start_at_the_agent_and_stay_visible() -> None:
    header = Header(frame_id="map")
    first, *lines = forecasts.markers(forecast(), PRESENT, NUMBERS, header, modes=3).markers
    assert first.action == Marker.DELETEALL and first.header.frame_id == "map"
    assert [line.ns for line in lines] == ["mode 0", "mode 1", "mode 2"] * 2
    assert [line.id for line in lines] == [7] * 3 + [2**31 - 1] * 3
    alphas = [line.color.a for line in lines]
    assert alphas == pytest.approx([0.7, 0.2, 0.15, 0.5, 0.45, 0.15])
    assert [len(line.points) for line in lines] == [1 + HORIZON] * 6
    assert (lines[3].points[0].x, lines[3].points[0].y) == (9, -9)
    assert (lines[0].points[1].x, lines[2].points[1].x) == (3, 1)
    assert lines[0].color.g > lines[0].color.r and lines[3].color.r > lines[3].color.g
    assert len(forecasts.markers(forecast(), PRESENT, NUMBERS, header, modes=1).markers) == 3


def test_any_text_is_a_number() -> None:
    names = np.array(["-face", "deadbeef-0000", "0", ""])
    assert forecasts.track_numbers(names).tolist() == [
        2**32 - 0xFACE,
        0xDEADBEEF,
        0,
        forecasts.hash_of(""),
    ]
