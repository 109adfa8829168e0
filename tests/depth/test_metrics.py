"""Metrics against the values of the public evaluation scripts and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ros_xai.depth.metrics import (
    NAMES,
    depth_metrics,
    distance_to_beam,
    garg_crop,
    hole_rate,
    mean_metrics,
    median_scale,
)


def test_values_of_monodepth2_evaluation():
    result = depth_metrics(np.array([6.0, 9, 26, 30]), np.array([5.0, 10, 20, 40]))
    expected = (0.2125, 1.15, 5.87367, 0.221324, 0.5, 1.0, 1.0)
    assert tuple(result[name] for name in NAMES) == pytest.approx(expected, rel=1e-5)


def test_unknown_and_far_pixels_do_not_count():
    target = np.array([0.0, np.nan, np.inf, 100.0, 10.0])
    assert depth_metrics(np.array([1.0, 1, 1, 1, 10]), target)["abs_rel"] == 0


def test_prediction_is_clamped_and_infinity_is_the_far_limit():
    target = np.array([40.0, 40.0])
    result = depth_metrics(np.array([np.inf, 500.0]), target, max_depth=80)
    assert result["abs_rel"] == pytest.approx(1.0)


def test_no_target_gives_nan_and_is_left_out_of_the_mean():
    empty = depth_metrics(np.ones((2, 2)), np.zeros((2, 2)))
    assert all(math.isnan(value) for value in empty.values())
    perfect = depth_metrics(np.ones((2, 2)), np.ones((2, 2)))
    assert mean_metrics([empty, perfect]) == perfect


def test_mean_is_over_images_not_pixels():
    one_pixel = depth_metrics(np.array([2.0]), np.array([1.0]))
    many = depth_metrics(np.ones(99), np.ones(99))
    assert mean_metrics([one_pixel, many])["abs_rel"] == pytest.approx(0.5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        depth_metrics(np.ones((2, 2)), np.ones((2, 3)))


depths = arrays(np.float64, (4, 5), elements=st.floats(0.5, 70))


@given(depths, depths)
def test_swapping_leaves_the_symmetric_metrics(prediction, target):
    there, back = depth_metrics(prediction, target), depth_metrics(target, prediction)
    for name in ("rmse", "rmse_log", "a1", "a2", "a3"):
        assert there[name] == pytest.approx(back[name], abs=1e-12)
    assert there["a1"] <= there["a2"] <= there["a3"]


@given(depths, st.floats(0.2, 5))
def test_median_scale_undoes_a_factor(target, factor):
    assert median_scale(target * factor, target) == pytest.approx(1 / factor)


def test_garg_crop_has_the_published_rows_and_columns():
    rows, columns = np.nonzero(garg_crop(375, 1242))
    assert (rows.min(), rows.max() + 1) == (153, 371)
    assert (columns.min(), columns.max() + 1) == (44, 1197)


def test_distance_to_beam_is_euclidean():
    sparse = np.zeros((5, 6), dtype=np.float32)
    sparse[1, 1] = 10
    v, u = np.indices(sparse.shape)
    assert np.allclose(distance_to_beam(sparse), np.hypot(v - 1, u - 1), atol=1e-5)
    assert np.isinf(distance_to_beam(np.zeros((3, 3), dtype=np.float32))).all()


def test_hole_rate_counts_predictions_beyond_the_factor():
    target = np.array([10.0, 10, 10, 0])
    for unknown in (np.inf, np.nan):
        prediction = np.array([14.9, 15.1, unknown, 99])
        assert hole_rate(prediction, target, np.ones(4, dtype=bool)) == pytest.approx(2 / 3)
    assert math.isnan(hole_rate(prediction, target, np.zeros(4, dtype=bool)))
