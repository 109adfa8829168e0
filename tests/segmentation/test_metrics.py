"""Confusion matrix and IoU against scikit-learn-free counting and hand values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.segmentation import metrics


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 255]), st.integers(0, 2)), min_size=1))
def test_confusion_counts_pairs(pairs):
    label, prediction = np.array(pairs).T
    matrix = metrics.confusion(label, prediction, 3)
    for a in range(3):
        for b in range(3):
            assert matrix[a, b] == pairs.count((a, b))


def test_iou_by_hand():
    matrix = np.array([[3, 1, 0, 0], [2, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(metrics.iou(matrix), [3 / 6, 4 / 7, np.nan, np.nan])
    assert metrics.mean_iou(matrix) == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert metrics.mean_iou(matrix, [1, 2]) == pytest.approx(4 / 7)
    assert metrics.pixel_accuracy(matrix) == pytest.approx(0.7)


def test_a_class_only_predicted_counts_as_an_error_of_the_others_and_not_as_a_class():
    matrix = metrics.confusion(np.zeros(4, int), np.array([0, 0, 1, 1]), 2)
    assert metrics.mean_iou(matrix) == 0.5


def test_iou_is_that_of_all_samples_not_the_mean_over_them():
    label, prediction = (
        np.array([[0, 0, 0, 1], [1, 1, 1, 0]]),
        np.array([[0, 0, 1, 1], [1, 1, 1, 1]]),
    )
    parts = [metrics.confusion(a, b, 2) for a, b in zip(label, prediction)]
    np.testing.assert_array_equal(sum(parts), metrics.confusion(label, prediction, 2))


def test_confusion_refuses_an_unknown_class_and_another_shape():
    with pytest.raises(ValueError, match=r"0\.\.2 or 255"):
        metrics.confusion(np.array([3]), np.array([0]), 3)
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), 3)


def test_forgetting_is_the_best_score_so_far_minus_the_last():
    history = np.array([[0.5, np.nan, np.nan], [0.6, 0.4, np.nan], [0.2, 0.45, 0.3]])
    np.testing.assert_allclose(metrics.forgetting(history), [0.4, -0.05, np.nan])
