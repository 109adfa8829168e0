"""Depth figures by hand and by definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.replay.evaluate import (
    BEAM_DISTANCES,
    RANGES,
    bin_names,
    frame_figures,
    mean_figures,
    percentiles,
)
from ros_xai.replay.frames import Frame


def frame(depth: np.ndarray, truth: np.ndarray | None, sparse: np.ndarray | None = None) -> Frame:
    beams = np.zeros_like(depth) if sparse is None else sparse
    return Frame(1, depth, beams, None, truth)


def test_figures_of_two_pixels_by_hand() -> None:
    figures = frame_figures(frame(np.float32([[11.0, 15.0]]), np.float32([[10.0, 20.0]])))
    assert figures["abs_rel"] == pytest.approx((0.1 + 0.25) / 2)
    assert figures["rmse"] == pytest.approx(math.sqrt((1 + 25) / 2))
    assert figures["a1"] == 0.5  # 20/15 is above 1.25, 11/10 below
    assert figures["coverage"] == 1.0
    assert figures["range.10-20.abs_rel"] == pytest.approx(0.1)
    assert figures["range.20-40.abs_rel"] == pytest.approx(0.25)
    assert "range.0-10.abs_rel" not in figures


def test_pixels_with_a_beam_are_left_out_of_unseen() -> None:
    depth, truth = np.float32([[10.0, 12.0, 13.0]]), np.full((1, 3), 10, np.float32)
    figures = frame_figures(frame(depth, truth, np.float32([[10.0, 0.0, 0.0]])))
    assert figures["abs_rel"] == pytest.approx(0.5 / 3)
    assert figures["unseen.abs_rel"] == pytest.approx(0.25)
    # 0, 1 and 2 pixels from the beam
    assert figures["beam.0-2.abs_rel"] == pytest.approx(0.1)
    assert figures["beam.2-5.abs_rel"] == pytest.approx(0.3)


def test_truth_out_of_range_or_unknown_is_not_judged() -> None:
    truth = np.float32([[10.0, 0.0, 90.0]])
    figures = frame_figures(frame(np.float32([[10.0, 99.0, 99.0]]), truth))
    assert figures["abs_rel"] == 0
    assert frame_figures(frame(np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32))) == {}
    assert frame_figures(frame(np.ones((1, 1), np.float32), None)) == {}


def test_an_unknown_answer_lowers_coverage_and_counts_as_the_farthest() -> None:
    depth = np.float32([[np.nan, 20.0]])
    figures = frame_figures(frame(depth, np.full((1, 2), 20, np.float32)))
    assert figures["coverage"] == 0.5
    assert figures["abs_rel"] == pytest.approx((80 - 20) / 20 / 2)


@given(st.integers(0, 1000))
def test_bins_share_out_all_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.5, 53, (12, 16)).astype(np.float32)
    depth = (truth * rng.uniform(0.5, 1.5, truth.shape)).astype(np.float32)
    sparse = np.where(rng.random(truth.shape) < 0.05, truth, 0).astype(np.float32)
    sparse[0, 0] = truth[0, 0]
    figures = frame_figures(frame(depth, truth, sparse))
    relative = np.abs(depth - truth) / truth
    for low, high in itertools.pairwise(RANGES):
        mask = (truth >= low) & (truth < high)
        value = figures[f"range.{low:g}-{high:g}.abs_rel"]
        assert value == pytest.approx(relative[mask].mean(), rel=1e-4)
    rows, columns = np.nonzero(sparse)
    grid = np.indices(truth.shape)
    distance = np.min(np.hypot(grid[0][..., None] - rows, grid[1][..., None] - columns), axis=-1)
    for name, low, high in zip(bin_names(BEAM_DISTANCES), BEAM_DISTANCES, BEAM_DISTANCES[1:]):
        mask = (distance >= low) & (distance < high)
        if mask.any():
            value = figures[f"beam.{name}.abs_rel"]
            assert value == pytest.approx(relative[mask].mean(), rel=1e-4)


def test_names_of_open_and_closed_intervals() -> None:
    assert bin_names((0.0, 2.5, math.inf)) == ["0-2.5", "2.5-"]


def test_frames_count_alike_whatever_they_hold() -> None:
    frames = [{"a": 1.0}, {}, {"a": 3.0, "c": 5.0}]
    assert mean_figures(frames) == {"a": 2.0, "c": 5.0}


def test_percentiles_interpolate() -> None:
    assert percentiles([0.0, 1.0, 2.0, 3.0, 4.0]) == {"p50": 2.0, "p99": pytest.approx(3.96)}
    assert percentiles([]) == {}
