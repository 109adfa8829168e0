"""Adaptive scalar hashing of RED (Yvinec et al., NeurIPS 2021, arXiv 2105.14797, section 3.1).

The weights of a layer are drawn to the modes of their density, so that few distinct values remain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from torch import Tensor

_REACH = 4.0  # bandwidths beyond which the Gaussian kernel counts as nothing
_PER_BANDWIDTH = 4  # grid points in one bandwidth
# Intervals wider than this many standard deviations are split: the bulk of a layer's weights is
# one bump, which a wide bandwidth would throw onto a single value.
WIDEST = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HashedTensor:
    """A tensor W as h(W) = values[codes].

    values: the distinct values that are left, ascending; codes: int64, of W's shape; bound: one
    number per row of W (per output channel; a vector is one row): ||W_i - h(W)_i||_1, so that
    |W x - h(W) x|_i <= bound_i ||x||_inf. ``distinct`` counts W's own values; ``max_error`` and
    ``mean_error`` are of |w - h(w)|.
    """

    values: Tensor
    codes: Tensor
    bound: Tensor
    distinct: int
    max_error: float
    mean_error: float

    @property
    def tensor(self) -> Tensor:
        """h(W), of W's shape and type."""
        return self.values[self.codes]


def hash_weights(
    tensor: Tensor, bandwidth_scale: float = 1.0, widest: float = WIDEST
) -> HashedTensor:
    """Every weight replaced by the mode of the density whose interval it lies in.

    The bandwidth of the Gaussian kernel is ``bandwidth_scale`` (tau >= 1) times the median gap
    between consecutive distinct weights. Intervals that span more than ``widest`` standard
    deviations are split, and their weights take the mean of their part instead of the mode.
    Monotone, and idempotent: a tensor in which at most half as many values as weights are distinct
    is discrete already and stays as it is; until then hashing is repeated. O(n log n).

    Raises ValueError for an empty tensor, values that are not finite, a scale below 1.
    """
    if bandwidth_scale < 1:
        raise ValueError(f"bandwidth_scale: expected 1 or more; got {bandwidth_scale}")
    weights = tensor.detach().cpu()
    if not weights.numel() or not weights.is_floating_point() or not weights.isfinite().all():
        raise ValueError(
            f"expected finite floating-point weights; got {weights.dtype} {list(weights.shape)}"
        )
    flat = weights.double().numpy().ravel()
    support, codes, counts = np.unique(flat, return_inverse=True, return_counts=True)
    distinct, deviation = len(support), float(flat.std())
    while len(support) > 1 and 2 * len(support) > len(flat):
        left, merged = _hash(support, counts, bandwidth_scale, widest * deviation)
        if len(left) == len(support):
            break
        # what the tensor's own type cannot tell apart is one value
        support, again = np.unique(_as_type(left, weights.dtype), return_inverse=True)
        codes, counts = again[merged][codes], np.bincount(again[merged], counts).astype(np.int64)
    values = torch.from_numpy(support).to(weights.dtype)
    index = torch.from_numpy(codes.reshape(weights.shape))
    errors = (weights.double() - values.double()[index]).abs()
    rows = errors.reshape(len(weights), -1) if weights.ndim > 1 else errors.reshape(1, -1)
    return HashedTensor(
        values, index, rows.sum(1), distinct, float(errors.max()), float(errors.mean())
    )


def _as_type(values: Floats, dtype: torch.dtype) -> Floats:
    return torch.from_numpy(values).to(dtype).double().numpy()


def density(
    support: Floats, counts: NDArray[np.int64], bandwidth: float
) -> tuple[NDArray[np.int64], Floats]:
    """Each weight's place in a grid, and d(w) = 1/(n D) sum_i K((w - w_i) / D) on that grid.

    Gaps over 2 REACH D are left out of the grid, since no kernel reaches into their middle: it
    has O(n) points however far the outliers are. Weights count at their nearest grid point.
    """
    margin = int(_REACH * _PER_BANDWIDTH) + 1
    gaps = np.diff(support) * _PER_BANDWIDTH / bandwidth
    position = np.cumsum(np.minimum(gaps, 2 * margin))
    position = np.rint(np.concatenate([[0.0], position])).astype(np.int64)
    histogram = np.zeros(position[-1] + 1 + 2 * margin)
    np.add.at(histogram, position + margin, counts)
    z = np.arange(-margin + 1, margin) / _PER_BANDWIDTH
    kernel = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    smooth = convolve1d(histogram, kernel, mode="constant")
    return position + margin, smooth / (counts.sum() * bandwidth)


def _minima(smooth: Floats) -> NDArray[np.int64]:
    """Places between two modes; on a plateau the last slope holds, its middle is the minimum."""
    change = np.sign(np.diff(smooth))
    known = np.flatnonzero(change)
    slopes = change[known]
    turns = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] > 0))
    return (known[turns] + 1 + known[turns + 1]) // 2


def _split(support: Floats, interval: NDArray[np.int64], widest: float) -> NDArray[np.int64]:
    """Intervals wider than ``widest`` in equal parts no wider; numbered from 0 without gaps."""
    first = np.flatnonzero(np.diff(interval, prepend=-1))
    last = np.append(first[1:], len(support)) - 1
    number = np.cumsum(np.diff(interval, prepend=interval[0]) > 0)
    width = support[last] - support[first]
    parts = np.maximum(1, np.ceil(width / widest)) if widest > 0 else np.ones_like(width)
    share = (support - support[first][number]) / np.where(width > 0, width, 1)[number]
    part = np.minimum(np.floor(share * parts[number]), parts[number] - 1)
    return np.cumsum(np.diff(number + part / (parts[number] + 1), prepend=0) > 0)


def _hash(
    support: Floats, counts: NDArray[np.int64], scale: float, widest: float
) -> tuple[Floats, NDArray[np.int64]]:
    """The values that are left and, for each support point, the number of its own."""
    bandwidth = scale * float(np.median(np.diff(support)))
    place, smooth = density(support, counts, bandwidth)
    whole = np.searchsorted(_minima(smooth), place, side="right")
    interval = _split(support, whole, widest)
    first = np.flatnonzero(np.diff(interval, prepend=-1))
    # the mode of an interval: its weight of highest density
    order = np.lexsort((-smooth[place], interval))
    values = support[order[first]]
    parts = np.bincount(whole, np.diff(interval, prepend=-1) > 0)[whole[first]]
    mean = np.bincount(interval, counts * support) / np.bincount(interval, counts)
    alone = np.bincount(interval) == 1
    return np.where((parts > 1) & ~alone, mean, values), interval


def hash_within(tensor: Tensor, budget: float, widest: float = WIDEST) -> HashedTensor:
    """The coarsest hash whose relative error ||W - h(W)|| / ||W|| (Frobenius) is within ``budget``.

    Bandwidths of 1, 2, 4, ... median gaps are tried; the finest is taken when none is within.
    """
    norm = float(tensor.detach().double().norm())
    best = hash_weights(tensor, 1.0, widest)
    for power in range(1, 16):
        coarser = hash_weights(tensor, 2.0**power, widest)
        error = float((coarser.tensor.double() - tensor.detach().cpu().double()).norm())
        if error > budget * norm:
            break
        best = coarser
    return best
