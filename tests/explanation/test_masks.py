"""Masks brought to image size, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from ros_xai.explanation.masks import cells_of, upsampler

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@settings(max_examples=40, deadline=None)
@given(grid=sizes, shape=st.tuples(st.integers(9, 41), st.integers(9, 41)), seed=st.integers(0, 99))
def test_is_torchs_interpolation(
    interpolation: str, grid: tuple[int, int], shape: tuple[int, int], seed: int
) -> None:
    masks = np.random.default_rng(seed).random((3, *grid))
    mode = {"bilinear": "bilinear", "nearest": "nearest-exact"}[interpolation]
    theirs = F.interpolate(torch.tensor(masks, dtype=torch.float32)[:, None], shape, mode=mode)
    ours = upsampler(grid, shape, interpolation)(masks)
    if interpolation == "nearest":  # a pixel centred on a border belongs to either cell
        on_border = [(2 * np.arange(n) + 1) * g % (2 * n) == 0 for g, n in zip(grid, shape)]
        ours = np.where(on_border[0][:, None] | on_border[1], theirs[:, 0].numpy(), ours)
    np.testing.assert_allclose(ours, theirs[:, 0].numpy(), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(grid=sizes, shape=st.tuples(st.integers(9, 41), st.integers(9, 41)), seed=st.integers(0, 99))
def test_a_spline_is_scipys_with_the_cells_as_control_points(
    grid: tuple[int, int], shape: tuple[int, int], seed: int
) -> None:
    cells = np.random.default_rng(seed).random(grid)
    at = [(np.arange(n) + 0.5) * g / n - 0.5 for g, n in zip(grid, shape)]
    theirs = map_coordinates(
        cells, np.meshgrid(*at, indexing="ij"), order=3, prefilter=False, mode="nearest"
    )
    ours = upsampler(grid, shape, "spline")(cells[None])[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_cells_of_a_region_are_those_whose_pixels_it_holds() -> None:
    region = np.zeros((20, 30), dtype=bool)
    region[4:11, 29] = True
    numbers = np.arange(12.0).reshape(1, 3, 4)
    inside = upsampler((3, 4), (20, 30), "nearest")(numbers)[0][region]
    assert set(np.flatnonzero(cells_of(region, (3, 4)))) == set(inside.astype(int))


def test_unknown_interpolation() -> None:
    with pytest.raises(ValueError, match="bilinear, nearest or spline; got 'cubic'"):
        upsampler((2, 2), (4, 4), "cubic")
