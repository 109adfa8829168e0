"""Depth metrics (Eigen et al., NeurIPS 2014), per image; average over images, never over pixels.

Nothing rescales the prediction: a metric estimator is judged un-scaled. ``median_scale`` is for
the arms that have no scale of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

NAMES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")


def valid_target(
    target: NDArray[np.floating], min_depth: float, max_depth: float
) -> NDArray[np.bool_]:
    """Pixels whose true depth is finite and strictly inside (min_depth, max_depth) metres."""
    return np.isfinite(target) & (target > min_depth) & (target < max_depth)


def depth_metrics(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
) -> dict[str, float]:
    """Errors of one image's depth (any equal shapes, metres; target 0 or NaN = unknown).

    The prediction is clamped to [min_depth, max_depth]; a prediction that is not finite counts as
    max_depth. Keys: abs_rel = mean |e|/g, sq_rel = mean e^2/g (m), rmse (m), rmse_log, and
    a1, a2, a3 = share of pixels with max(p/g, g/p) < 1.25^k. All NaN when no target is valid.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"expected prediction and target of one shape; got {prediction.shape} and "
            f"{target.shape}: resize the prediction to the target first"
        )
    valid = valid_target(target, min_depth, max_depth)
    if not valid.any():
        return dict.fromkeys(NAMES, float("nan"))
    truth = target[valid].astype(np.float64)
    raw = prediction[valid].astype(np.float64)
    depth = np.where(np.isfinite(raw), raw, max_depth).clip(min_depth, max_depth)
    error = depth - truth
    ratio = np.maximum(depth / truth, truth / depth)
    values = {
        "abs_rel": np.mean(np.abs(error) / truth),
        "sq_rel": np.mean(error**2 / truth),
        "rmse": np.sqrt(np.mean(error**2)),
        "rmse_log": np.sqrt(np.mean(np.log(depth / truth) ** 2)),
    }
    values |= {f"a{k}": np.mean(ratio < 1.25**k) for k in (1, 2, 3)}
    return {name: float(values[name]) for name in NAMES}


def mean_metrics(per_image: Iterable[dict[str, float]]) -> dict[str, float]:
    """Average over the images that have the figure (an image without truth has NaN)."""
    rows = list(per_image)
    columns = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    return {
        name: float(np.nanmean(column)) if np.isfinite(column).any() else float("nan")
        for name, column in columns.items()
    }


def garg_crop(height: int, width: int) -> NDArray[np.bool_]:
    """Evaluation crop of Garg et al. (ECCV 2016) for KITTI, [H, W] bool."""
    mask = np.zeros((height, width), dtype=bool)
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    columns = slice(int(0.03594771 * width), int(0.96405229 * width))
    mask[rows, columns] = True
    return mask


def median_scale(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
) -> float:
    """Factor that gives the prediction the target's median over the valid pixels."""
    valid = valid_target(target, min_depth, max_depth)
    return float(np.median(target[valid]) / np.median(prediction[valid])) if valid.any() else 1.0


def distance_to_beam(sparse_depth: NDArray[np.floating]) -> NDArray[np.float32]:
    """Euclidean pixel distance [H, W] to the nearest LiDAR return; inf when there is none."""
    import cv2

    hit = sparse_depth > 0
    if not hit.any():
        return np.full(sparse_depth.shape, np.inf, dtype=np.float32)
    distance = cv2.distanceTransform((~hit).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, dtype=np.float32)


def hole_rate(
    prediction: NDArray[np.floating],
    target: NDArray[np.floating],
    mask: NDArray[np.bool_],
    factor: float = 1.5,
) -> float:
    """Share of the mask's pixels predicted beyond ``factor`` times the truth.

    The infinite-depth failure on objects that move with the camera. NaN for an empty mask.
    """
    valid = mask & (target > 0) & np.isfinite(target)
    if not valid.any():
        return float("nan")
    wrong = ~(prediction[valid] <= factor * target[valid])  # not finite counts as a hole
    return float(wrong.mean())
