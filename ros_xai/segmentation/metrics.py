"""Confusion matrix and intersection over union, summed over samples before any ratio is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import IGNORE


def confusion(
    label: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, ignore: int = IGNORE
) -> NDArray[np.int64]:
    """Counts [C, C] of pixels, row = label, column = prediction; pixels labelled `ignore` are left
    out.

    Raises:
        ValueError: shapes differ, or a value lies outside [0, classes).
    """
    if label.shape != prediction.shape:
        raise ValueError(f"label {label.shape} and prediction {prediction.shape} differ in shape")
    valid = label != ignore
    pairs = np.stack([label[valid], prediction[valid]]).astype(np.int64)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= classes):
        raise ValueError(
            f"expected classes 0..{classes - 1} or {ignore}; got {pairs.min()}..{pairs.max()}"
        )
    return np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2).reshape(
        classes, classes
    )


def iou(matrix: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union per class [C]; NaN for a class in neither labels nor predictions."""
    hit = np.diag(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - hit
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)


def mean_iou(matrix: NDArray[np.integer], classes: Sequence[int] | None = None) -> float:
    """Mean IoU over the classes that occur in the labels (over those of `classes` if given).

    Classes that never occur in the labels do not count, so that scores of two models on the same
    data average over the same classes.
    """
    chosen = np.arange(len(matrix)) if classes is None else np.asarray(classes)
    present = chosen[matrix.sum(1)[chosen] > 0]
    return float(iou(matrix)[present].mean()) if len(present) else float("nan")


def pixel_accuracy(matrix: NDArray[np.integer]) -> float:
    """Share of labelled pixels that are predicted right."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float("nan")


def forgetting(history: NDArray[np.floating]) -> NDArray[np.float64]:
    """Best IoU of each class before the last step minus its last one; history: [steps, C].

    NaN where a class has no score before the last step (Chaudhry et al., ECCV 2018, eq. 3).
    """
    before = np.where(np.isnan(history[:-1]), -np.inf, history[:-1]).max(0)
    return np.where(np.isinf(before), np.nan, before - history[-1])
