"""Filtered patterns against numerical integrals; textures' means and periods."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.world.textures import INDEX, TILES, coverage, periodic, pyramid, sample, scatter

places = st.floats(-30, 30)
widths = st.floats(0.01, 20.0)


def average(x: float, footprint: float, inside) -> float:  # type: ignore[no-untyped-def]
    points = x + footprint * (np.arange(20000) + 0.5) / 20000 - footprint / 2
    return float(np.mean(inside(points)))


def single(value: float) -> np.ndarray:
    return np.array([value])


@given(places, widths, places, st.floats(0.01, 10))
def test_coverage_is_the_mean_of_an_interval(x: float, f: float, low: float, size: float) -> None:
    expected = average(x, f, lambda p: (p >= low) & (p <= low + size))
    assert coverage(single(x), low, low + size, single(f))[0] == pytest.approx(expected, abs=1e-3)


@given(places, widths, st.floats(0.5, 6), st.floats(0.1, 0.9))
def test_periodic_is_the_mean_of_stripes(x: float, f: float, period: float, share: float) -> None:
    on = share * period
    expected = average(x, f, lambda p: np.mod(p, period) < on)
    assert periodic(single(x), period, on, single(f))[0] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", sorted(TILES))
def test_textures_have_mean_one_and_repeat(name: str) -> None:
    for level in pyramid():
        assert level[INDEX[name]].mean() == pytest.approx(1.0, abs=1e-3)
    rng = np.random.default_rng(0)
    uv = rng.uniform(-9, 9, (50, 2)).astype(np.float32)
    kind, fine = np.full(50, INDEX[name], np.uint8), np.full(50, 1e-3, np.float32)
    here = sample(kind, uv, fine)
    there = sample(kind, uv + np.float32([TILES[name], -2 * TILES[name]]), fine)
    assert np.allclose(here, there, atol=0.08)  # the lookup rounds to 1/32 of a texel
    assert here.std() > 0.01


def test_a_coarse_footprint_leaves_the_mean_only() -> None:
    rng = np.random.default_rng(1)
    uv = rng.uniform(-50, 50, (200, 2)).astype(np.float32)
    kind = np.full(200, INDEX["brick"], np.uint8)
    deviation = [sample(kind, uv, np.full(200, f, np.float32)).std() for f in (0.002, 0.1, 4.0)]
    assert deviation[0] > deviation[1] > deviation[2]
    assert deviation[2] < 1e-3


def test_no_texture_is_one() -> None:
    assert np.all(sample(np.full(3, 255, np.uint8), np.ones((3, 2), np.float32), np.ones(3)) == 1)


def test_scatter_is_uniform_and_depends_on_every_key() -> None:
    x, y = np.meshgrid(np.arange(-100, 100), np.arange(100))
    values = scatter(x, y, np.full_like(x, 3))
    counts = np.histogram(values, 10, (0, 1))[0]
    assert np.all(np.abs(counts - 2000) < 200)
    assert np.array_equal(values, scatter(x, y, np.full_like(x, 3)))
    assert np.mean(values == scatter(x, y, np.full_like(x, 4))) < 0.01
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.03
