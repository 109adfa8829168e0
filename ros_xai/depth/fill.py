"""Non-learned completion of a few-beam depth image: baselines, and the network's prior.

All take a sparse depth [H, W] float32 metres (0 = no return) and give a dense one of that shape
(0 only when there is no return at all).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Depth = NDArray[np.float32]
ON_ROAD = 0.1  # relative difference in inverse depth up to which a return belongs to the road


@dataclass(frozen=True)
class ColumnFill:
    """Interpolated inverse depth [H, W] (1/m, 0 = no return anywhere) and the distance in rows
    [H, W] from each pixel to the nearest beam of its column (inf without one)."""

    disparity: Depth
    distance: Depth


def close_gaps(sparse_depth: Depth, radius: int) -> Depth:
    """Copies each return to the empty pixels at most ``radius`` columns beside it.

    A scan line has fewer returns than the image has columns; the closer return wins, then the
    nearer depth, so no foreground is lost.
    """
    filled = sparse_depth.copy()
    for shift in range(1, radius + 1):
        left, right = np.zeros_like(filled), np.zeros_like(filled)
        left[:, :-shift] = sparse_depth[:, shift:]
        right[:, shift:] = sparse_depth[:, :-shift]
        both = np.where((left > 0) & (right > 0), np.minimum(left, right), left + right)
        filled = np.where(filled > 0, filled, both)
    return filled


def column_fill(
    sparse_depth: Depth, gap: int | None = None, road: Depth | None = None
) -> ColumnFill:
    """Linear in inverse depth along each column between beams, constant beyond the outer ones.

    On a plane inverse depth is linear in the image row, so roads and walls come out exact.
    ``gap``: columns that a return may be copied sideways, by default 1/400 of the width. A
    column without any return takes the nearest one that has some. ``road``: inverse depth of
    the road's plane [H, W]; a column whose lower return lies on it follows it up to the foot of
    what the upper return hit, and stands upright from there.
    """
    height, width = sparse_depth.shape
    # Few rows have any return: what is done along columns is done on those.
    lines = np.flatnonzero((sparse_depth > 0).any(1)).astype(np.int32)
    gap = max(1, round(width / 400)) if gap is None else gap
    sparse = close_gaps(sparse_depth[lines], gap)
    hit = sparse > 0
    filled_columns = np.flatnonzero(hit.any(0))
    if filled_columns.size == 0:
        empty = np.zeros((height, width), dtype=np.float32)
        return ColumnFill(empty, np.full((height, width), np.inf, dtype=np.float32))
    if filled_columns.size < width:
        middles = (filled_columns[1:] + filled_columns[:-1]) / 2
        nearest = filled_columns[np.searchsorted(middles, np.arange(width))]
        sparse, hit = sparse[:, nearest], hit[:, nearest]

    disparity = np.zeros((height, width), dtype=np.float32)
    disparity[lines] = np.divide(1, sparse, out=np.zeros_like(sparse), where=hit)
    rows = np.arange(height, dtype=np.int32)[:, None]
    above = _accumulated(np.maximum, np.where(hit, lines[:, None], -1), -1)
    below = _accumulated(np.minimum, np.where(hit, lines[:, None], height)[::-1], height)[::-1]
    above = above[np.searchsorted(lines, rows[:, 0], side="right")]
    below = below[np.searchsorted(lines, rows[:, 0])]
    above, below = np.where(above < 0, below, above), np.where(below == height, above, below)
    columns = np.arange(width, dtype=np.int32)
    at_above = disparity.take(above * width + columns)
    lower = below * width + columns
    at_below = disparity.take(lower)
    to_above, to_below = np.abs(rows - above), np.abs(below - rows)
    distance = np.minimum(to_above, to_below).astype(np.float32)
    span = np.maximum(below - above, 1).astype(np.float32)
    share = np.minimum(to_above.astype(np.float32) / span, 1)
    filled = at_above + share * (at_below - at_above)
    if road is not None:
        on_road = np.abs(road.take(lower) - at_below) < ON_ROAD * at_below
        upright = np.minimum(np.maximum(road, at_above), np.maximum(at_below, at_above))
        filled = np.where(on_road & (below > above), upright, filled)
        # Below the last return the road comes nearer, or hides behind what that return hit.
        filled = np.where(rows > below, np.maximum(filled, road), filled)
    return ColumnFill(filled, distance)


def _accumulated(operation: np.ufunc, values: NDArray[np.int32], initial: int) -> NDArray[np.int32]:
    """operation.accumulate(values, axis=0) after a row of `initial`, four times as fast by whole
    rows."""
    result = np.empty((len(values) + 1, values.shape[1]), dtype=np.int32)
    result[0] = initial
    for row, value in enumerate(values):
        operation(value, result[row], out=result[row + 1])
    return result


def interpolate_columns(sparse_depth: Depth) -> Depth:
    """Dense depth by ``column_fill``."""
    return _depth(column_fill(sparse_depth).disparity)


def nearest(sparse_depth: Depth) -> Depth:
    """Depth of the nearest return (Euclidean pixel distance)."""
    hit = sparse_depth > 0
    if not hit.any():
        return np.zeros_like(sparse_depth)
    _, labels = cv2.distanceTransformWithLabels(
        (~hit).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    depth_of = np.zeros(labels.max() + 1, dtype=np.float32)
    depth_of[labels[hit]] = sparse_depth[hit]
    return depth_of[labels]


def linear(sparse_depth: Depth) -> Depth:
    """Linear in inverse depth over the Delaunay triangles of the returns, nearest outside."""
    from scipy.interpolate import LinearNDInterpolator

    points = np.argwhere(sparse_depth > 0)
    dense = nearest(sparse_depth)
    if np.linalg.matrix_rank(points - points[:1]) < 2:  # none, or all on one line: no triangle
        return dense
    disparity = 1 / sparse_depth[tuple(points.T)]
    grid = np.stack(np.indices(sparse_depth.shape), axis=-1)
    inside = LinearNDInterpolator(points, disparity)(grid).astype(np.float32)
    return np.where(np.isfinite(inside), _depth(np.nan_to_num(inside)), dense)


def ip_basic(sparse_depth: Depth, max_depth: float = 100.0) -> Depth:
    """Morphological completion after Ku et al., CRV 2018, with kernels for wide beam gaps.

    Inverted depth (max_depth - d) makes dilation keep the near surface: a diamond dilation, a
    closing, dilations of growing size for the holes, upward extension of each column's top,
    the nearest return for what is left, then a median and a Gaussian blur.
    """
    if not (sparse_depth > 0).any():
        return np.zeros_like(sparse_depth)
    inverted = np.where(sparse_depth > 0, (max_depth - sparse_depth).clip(1), 0).astype(np.float32)
    inverted = cv2.dilate(inverted, cv2.getStructuringElement(cv2.MORPH_CROSS, (5, 5)))
    inverted = cv2.morphologyEx(inverted, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    for size in (7, 15, 31, 63):
        grown = cv2.dilate(inverted, np.ones((size, size), np.uint8))
        inverted = np.where(inverted > 0, inverted, grown)
    top = (inverted > 0).argmax(0)
    value = np.take_along_axis(inverted, top[None], 0)
    above = np.arange(inverted.shape[0])[:, None] < top[None]
    inverted = np.where(above, value, inverted)
    inverted = np.where(inverted > 0, inverted, max_depth - nearest(sparse_depth))
    inverted = cv2.GaussianBlur(cv2.medianBlur(inverted, 5), (5, 5), 0)
    return np.asarray(max_depth - inverted, dtype=np.float32)


def _depth(disparity: Depth) -> Depth:
    return np.divide(1, disparity, out=np.zeros_like(disparity), where=disparity > 0)
