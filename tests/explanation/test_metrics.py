"""Faithfulness metrics by arithmetic done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros_xai.explanation import metrics as m
from ros_xai.explanation.attribution import Attribution, overlay
from ros_xai.explanation.perturbations import BoxBlur, mean_colour

SHAPE = (4, 5)
ONES = np.ones((2, *SHAPE), dtype=np.float32)


def weighted(weights: np.ndarray):
    return lambda images: (images[:, 0] * weights).sum((1, 2))


def test_area_of_the_authors_example() -> None:
    """Scores 0.9, 0.5, 0.2, 0.1 at equal steps have an area of 0.4."""
    curve = m.Curve(np.linspace(0, 1, 4), np.array([0.9, 0.5, 0.2, 0.1]))
    assert curve.area == pytest.approx(0.4)


def test_deletion_and_insertion_of_one_decisive_pixel() -> None:
    """Found first: the score is 1 for none of the steps after the first; found last: for all."""
    weights = np.zeros(SHAPE)
    weights[2, 3] = 1
    box = weighted(weights)
    assert m.deletion(box, ONES, weights, steps=20) == pytest.approx(0.5 / 20)
    assert m.deletion(box, ONES, -weights, steps=20) == pytest.approx(1 - 0.5 / 20)
    assert m.insertion(box, ONES, weights, steps=20) == pytest.approx(1 - 0.5 / 20)
    assert m.insertion(box, ONES, -weights, steps=20) == pytest.approx(0.5 / 20)


def test_curves_start_and_end_at_the_image_and_the_baseline() -> None:
    image = np.random.default_rng(0).random((3, 8, 9), dtype=np.float32)
    heat = np.random.default_rng(1).random((8, 9))
    box = weighted(np.random.default_rng(2).random((8, 9)))
    ends = [box(image[None])[0], box(mean_colour(image)[None])[0]]
    removed, added = m.curves(box, image, heat, steps=7, baseline=mean_colour, batch_size=3)
    np.testing.assert_allclose(removed.scores[[0, -1]], ends, rtol=1e-6)
    np.testing.assert_allclose(added.scores[[-1, 0]], ends, rtol=1e-6)
    assert removed.shares[1] == 10 / 72


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_true_order_is_best_for_a_linear_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random(SHAPE)
    box = weighted(weights)
    best, other = weights, rng.random(SHAPE)
    assert m.deletion(box, ONES, best, steps=20) <= m.deletion(box, ONES, other, steps=20) + 1e-9
    assert m.insertion(box, ONES, best, steps=20) >= m.insertion(box, ONES, other, steps=20) - 1e-9


def test_ties_go_in_reading_order() -> None:
    seen = []

    def box(images: np.ndarray) -> np.ndarray:
        seen.append(images[:, 0].copy())
        return images.sum((1, 2, 3))

    m.deletion(box, ONES, np.zeros(SHAPE), steps=4)
    np.testing.assert_array_equal(seen[0][1], [[0] * 5, [1] * 5, [1] * 5, [1] * 5])


@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_mu_fidelity_is_one_for_the_terms_of_a_linear_box(correlation: str) -> None:
    weights = np.random.default_rng(0).random((18, 18))
    image = np.ones((1, 18, 18), dtype=np.float32)
    fidelity = m.mu_fidelity(weighted(weights), image, weights, correlation=correlation)
    assert fidelity == pytest.approx(1, abs=1e-3)
    opposed = m.mu_fidelity(weighted(weights), image, -weights, correlation=correlation)
    assert opposed == pytest.approx(-1, abs=1e-3)


def test_mu_fidelity_without_any_reaction_is_zero() -> None:
    image = np.ones((1, 18, 18), dtype=np.float32)
    assert m.mu_fidelity(lambda x: np.ones(len(x)), image, np.ones((18, 18))) == 0


def test_mu_fidelity_removes_exactly_its_share_of_cells() -> None:
    kept = []

    def box(images: np.ndarray) -> np.ndarray:
        kept.extend(images.mean((1, 2, 3)))
        return images.sum((1, 2, 3))

    m.mu_fidelity(box, np.ones((1, 18, 18), dtype=np.float32), np.ones((18, 18)), subsets=50)
    np.testing.assert_allclose(kept[1:], 1 - 16 / 81, rtol=1e-5)


def test_pointing_game() -> None:
    region = np.zeros((60, 80), dtype=bool)
    region[30:40, 30:50] = True
    heat = np.zeros((60, 80))
    heat[35, 64] = 1
    assert m.pointing_game(heat, region)
    assert not m.pointing_game(heat, region, tolerance=14)
    assert not m.pointing_game(heat, np.zeros_like(region))


def test_a_heatmap_is_not_transposed() -> None:
    """Two rows of three cells on an image wider than high: the hot cell is bottom right."""
    attribution = Attribution("map", np.array([[0, 0, 0], [0, 0, 1.0]]), (20, 90), 0)
    heat = attribution.heatmap()
    assert heat.shape == (20, 90)
    v, u = np.unravel_index(heat.argmax(), heat.shape)
    assert v >= 10
    assert u >= 60


def test_a_spline_weighs_a_cell_with_its_neighbours() -> None:
    """A lone cell against its surroundings is drowned, by 4/6 of it to 2/6 of them along a row."""
    cells = Attribution("sobol", np.array([[4.0, 2, -0.5, 2, 4]]), (3, 15), 0, drawing="spline")
    centres = (1, slice(1, None, 3))
    expected = np.array([22, 11.5, 2, 11.5, 22]) / 6
    np.testing.assert_allclose(cells.heatmap()[centres], expected, rtol=1e-6)


def test_overlay_leaves_what_does_not_matter_as_it_is() -> None:
    image = np.full((40, 60, 3), 90, dtype=np.uint8)
    heat = np.zeros((40, 60))
    heat[10:20, 10:20] = 1
    heat[30, 30] = -1
    shown = overlay(image, heat)
    changed = (shown != image).any(-1)
    np.testing.assert_array_equal(changed, heat > 0)
    np.testing.assert_array_equal(overlay(image, -heat.clip(0)), image)


def test_blurred_baselines_work_with_wide_images() -> None:
    image = np.random.default_rng(0).random((3, 8, 30), dtype=np.float32)
    box = weighted(np.ones((8, 30)))
    assert np.isfinite(m.deletion(box, image, np.ones((2, 5)), baseline=BoxBlur(5)))
