"""Masks of cells, brought to the size of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Interpolation = Literal["bilinear", "nearest", "spline"]


def upsampler(
    grid: tuple[int, int],
    shape: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> Callable[[NDArray[np.floating | np.bool_]], Array]:
    """The function from cell masks [n, *grid] to masks float32 [n, *shape].

    All interpolations are linear and separable, of few cells each. They are added up one by one: a
    matrix product would leave the threads of BLAS spinning while the network runs.
    Cells tile the image (half-pixel centres, borders repeated), as torch's interpolate does.
    "spline" is the uniform cubic B-spline with the cells as control points: it smooths, as tents
    (bilinear masks) averaged over tents do.
    """
    rows, columns = (_taps(_weights(g, n, interpolation)) for g, n in zip(grid, shape))

    def upsample(masks: NDArray[np.floating | np.bool_]) -> Array:
        cells = masks.astype(np.float32, copy=False)
        wide = sum(cells[..., cell] * share for cell, share in columns)
        return sum(wide[:, cell] * share[:, None] for cell, share in rows)

    return upsample


def _taps(weights: Array) -> list[tuple[NDArray[np.intp], Array]]:
    """What makes up a matrix of few weights a row [size, cells]: as often as it takes, a cell and
    its weight for every row."""
    count = np.count_nonzero(weights, axis=1).max()
    cells = np.argsort(weights == 0, axis=1, kind="stable")[:, :count]
    return list(zip(cells.T, np.take_along_axis(weights, cells, axis=1).T))


def _weights(cells: int, size: int, interpolation: Interpolation) -> Array:
    """Matrix [size, cells] that interpolates along one axis."""
    weights = np.zeros((size, cells), dtype=np.float32)
    pixels = np.arange(size)
    if interpolation == "nearest":
        weights[pixels, _cell(pixels, cells, size)] = 1
        return weights
    if interpolation == "spline":
        place = (pixels + 0.5) * cells / size - 0.5
        low = np.floor(place).astype(int)
        for step, share in enumerate(_cubic_b_spline(place - low)):
            np.add.at(weights, (pixels, (low + step - 1).clip(0, cells - 1)), share)
        return weights
    if interpolation != "bilinear":
        raise ValueError(
            f"expected interpolation bilinear, nearest or spline; got {interpolation!r}"
        )
    position = ((pixels + 0.5) * cells / size - 0.5).clip(0, cells - 1)
    low = np.minimum(position.astype(int), max(cells - 2, 0))
    share = (position - low).astype(np.float32)
    weights[pixels, low] = 1 - share
    if cells > 1:
        weights[pixels, low + 1] = share
    return weights


def _cubic_b_spline(t: NDArray[np.float64]) -> Array:
    """Weights [4, n] of the control points at -1, 0, 1 and 2 for positions t [n] in [0, 1)."""
    basis = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3]
    return np.stack(basis).astype(np.float32) / 6


def cells_of(region: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Cells [*grid] that the region [H, W] touches."""
    touched = np.zeros(grid, dtype=bool)
    v, u = np.nonzero(region)
    touched[_cell(v, grid[0], region.shape[0]), _cell(u, grid[1], region.shape[1])] = True
    return touched


def _cell(pixel: NDArray[np.int64], cells: int, size: int) -> NDArray[np.int64]:
    """The cell that holds the centre of a pixel, in whole numbers so that no border is rounded."""
    return (2 * pixel + 1) * cells // (2 * size)
