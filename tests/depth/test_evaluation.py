"""Groups of pixels that an estimator is scored on, with errors that are known in each."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.core.camera import back_project
from ros_xai.data.depth import DepthSample
from ros_xai.depth.evaluation import AWAY_PIXELS, evaluate, score

K = np.array([[40.0, 0, 31.5], [0, 40, 19.5], [0, 0, 1]])
SHAPE = (40, 64)
ROW = 5  # of the one beam


def sample(depth: float = 10.0, truth: bool = True) -> DepthSample:
    """A wall, with one beam of ring 3 across it and a return of ring 8 below."""
    points = back_project(np.full(SHAPE, depth), K)[[ROW, 30]].reshape(-1, 3).astype(np.float32)
    return DepthSample(
        np.zeros((*SHAPE, 3), np.uint8),
        K,
        points,
        np.repeat([3, 8], 64).astype(np.uint8),
        np.full(SHAPE, depth, np.float32) if truth else None,
    )


def by_distance(image, sparse, intrinsics):
    """Right on the beam, 10 % too far near it, 30 % too far away from it."""
    rows = np.abs(np.arange(40) - ROW)[:, None] + np.zeros(64)
    factor = np.select([rows == 0, rows <= AWAY_PIXELS], [1.0, 1.1], 1.3)
    return (10 * factor).astype(np.float32)


def test_each_group_has_its_own_pixels():
    found = evaluate(by_distance, [sample()], (3,))
    near, away = ROW + 8, 40 - (ROW + 8) - 1  # rows
    assert found["away"]["abs_rel"] == pytest.approx(0.3, abs=1e-6)
    assert found["unseen"]["abs_rel"] == pytest.approx((0.1 * near + 0.3 * away) / 39, abs=1e-6)
    assert found["all"]["abs_rel"] == pytest.approx((0.1 * near + 0.3 * away) / 40, abs=1e-6)
    assert found["0-20"] == found["all"]
    assert np.isnan(found["20-40"]["abs_rel"]) and np.isnan(found["40-80"]["abs_rel"])
    assert "co_moving" not in found


def test_ranges_go_by_the_truth():
    far = evaluate(by_distance, [sample(20.0)], (3,))
    assert np.isnan(far["0-20"]["abs_rel"])
    assert far["20-40"] == far["all"]


def test_without_dense_truth_all_beams_are_the_truth():
    found = evaluate(by_distance, [sample(truth=False)], (3,))
    assert found["all"]["abs_rel"] == pytest.approx(0.15, abs=1e-6)  # rings 3 and 8
    assert found["unseen"]["abs_rel"] == pytest.approx(0.3, abs=1e-6)  # ring 8 alone


def test_only_the_beams_of_the_sensor_are_shown():
    shown = []

    def estimate(image, sparse, intrinsics):
        shown.append(np.flatnonzero(sparse.any(1)).tolist())
        return np.full(SHAPE, 10, np.float32)

    evaluate(estimate, [sample()], (3,))
    evaluate(estimate, [sample()], (8,))
    assert shown == [[ROW], [30]]


def test_co_moving_objects_have_metrics_and_holes_of_their_own():
    mask = np.zeros(SHAPE, bool)
    mask[20:30, 10:20] = True
    prediction = np.full(SHAPE, 10, np.float32)
    prediction[20:25, 10:20] = 80
    one = sample()
    found = score(
        prediction, DepthSample(**{**vars(one), "co_moving": mask}), one.sparse_depth((3,))
    )
    assert found["co_moving"]["hole_rate"] == 0.5
    assert found["co_moving"]["abs_rel"] == pytest.approx(3.5)
