"""Running dispersion and convergence against the metrics of worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.data.forecasting import HORIZON
from ros_xai.forecasting.metrics import dispersion
from ros_xai.forecasting.stability import StabilityMonitor

HALF = 500_000_000
RADII = (0.2, 1.0, 5.0)


def test_a_point_is_judged_by_what_was_said_of_it_from_all_distances() -> None:
    """Made k steps before, the forecast of the agent's place at step 20 is k * 0.3 m off."""
    monitor = StabilityMonitor(RADII)
    said = []
    for now in range(21):
        ahead = np.arange(1, HORIZON + 1)
        path = np.stack([now + ahead + 0.0, 0.3 * ahead], axis=-1)
        if 20 - HORIZON <= now < 20:
            said.append(path[20 - now - 1])
        present = np.array([[float(now), 0.0]])
        found = monitor.update(now * HALF, np.array(["a"]), present, path[None])
        assert np.isnan(found.dispersion[0]) == (now < HORIZON)
    assert found.dispersion[0] == pytest.approx(dispersion(np.array(said)), abs=1e-12)
    # 0.3 k <= 0.2, 1 and 5: none, 3 and all 12 steps of half a second.
    assert found.convergence[0].tolist() == [0.0, 1.5, 6.0]


def test_a_missed_instant_leaves_points_without_a_judgement_until_it_is_past() -> None:
    monitor = StabilityMonitor(RADII)
    judged = []
    for now in range(40):
        if now == 15:
            continue
        path = np.zeros((1, HORIZON, 2))
        found = monitor.update(now * HALF, np.array(["a"]), np.zeros((1, 2)), path)
        judged.append((now, bool(np.isfinite(found.dispersion[0]))))
    assert [now for now, ok in judged if ok] == [12, 13, 14, *range(28, 40)]


def test_stamps_may_jitter_and_memory_is_bounded() -> None:
    monitor = StabilityMonitor(RADII)
    rng = np.random.default_rng(0)
    for now in range(600):
        stamp = now * 100_000_000 + int(rng.integers(-10_000_000, 10_000_000))
        found = monitor.update(stamp, np.array(["a"]), np.zeros((1, 2)), np.zeros((1, HORIZON, 2)))
    assert found.dispersion[0] == 0 and found.convergence[0].tolist() == [6, 6, 6]
    assert len(monitor._said) <= 62
    monitor.update(10**12, np.array(["b"]), np.zeros((1, 2)), np.zeros((1, HORIZON, 2)))
    assert len(monitor._said) == 1


def test_of_two_forecasts_as_near_the_older_counts_and_each_agent_has_its_own() -> None:
    monitor = StabilityMonitor(RADII)
    for k in range(HORIZON, 0, -1):
        for shift, offset in ((-30_000_000, 1.0), (30_000_000, 2.0)):
            names = ["a", "b"] if shift < 0 else ["a"]
            paths = np.full((len(names), HORIZON, 2), offset)
            monitor.update(-k * HALF + shift, np.array(names), np.zeros((len(names), 2)), paths)
    present = np.array([[1.0, 1.0], [1.0, 1.0]])
    found = monitor.update(0, np.array(["b", "a"]), present, np.zeros((2, HORIZON, 2)))
    assert found.convergence.tolist() == [[6, 6, 6], [6, 6, 6]]
