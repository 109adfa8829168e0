"""Scores of a depth estimator on frames: the callable that drives is the one that is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.depth import DepthSample
from ros_xai.depth.metrics import (
    depth_metrics,
    distance_to_beam,
    hole_rate,
    mean_metrics,
    valid_target,
)

Estimate = Callable[
    [NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64]], NDArray[np.float32]
]
AWAY_PIXELS = 8.0  # farther from any beam, an answer owes more to the network than to the LiDAR
RANGES = ((0.0, 20.0), (20.0, 40.0), (40.0, 80.0))
MIN_DEPTH, MAX_DEPTH = 1e-3, 80.0


def evaluate(
    estimate: Estimate, samples: Iterable[DepthSample], rings: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Un-scaled metrics by group of pixels, per image, then averaged over images.

    Input are the beams ``rings``; truth is the sample's dense depth, or else all its beams.
    Groups: "all"; "unseen", without the pixels of the input beams; "away", more than 8 px from
    any of them; "0-20" and so on by true depth; "co_moving" (with hole_rate) where it is known.
    """
    per_image: dict[str, list[dict[str, float]]] = {}
    for sample in samples:
        sparse = sample.sparse_depth(rings)
        prediction = estimate(sample.image, sparse, sample.intrinsics)
        for name, scores in score(prediction, sample, sparse).items():
            per_image.setdefault(name, []).append(scores)
    return {name: mean_metrics(rows) for name, rows in per_image.items()}


def score(
    prediction: NDArray[np.float32], sample: DepthSample, sparse: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """The groups of ``evaluate`` for one image."""
    truth = sample.sparse_depth() if sample.depth is None else sample.depth
    away = distance_to_beam(sparse)
    groups = {
        "all": np.ones_like(truth, dtype=bool),
        "unseen": sparse == 0,
        "away": away > AWAY_PIXELS,
    }
    groups |= {f"{low:.0f}-{high:.0f}": (truth >= low) & (truth < high) for low, high in RANGES}
    scores = {
        name: depth_metrics(prediction, np.where(mask, truth, 0), MIN_DEPTH, MAX_DEPTH)
        for name, mask in groups.items()
    }
    if sample.co_moving is not None:
        mask = sample.co_moving & valid_target(truth, MIN_DEPTH, MAX_DEPTH)
        scores["co_moving"] = {
            **depth_metrics(prediction, np.where(mask, truth, 0), MIN_DEPTH, MAX_DEPTH),
            "hole_rate": hole_rate(prediction, truth, mask),
        }
    return scores
