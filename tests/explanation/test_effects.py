"""Main effects against closed forms of functions of masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import hadamard

from ros_xai.explanation.baselines import RandomCells
from ros_xai.explanation.effects import MainEffects, fold_over
from ros_xai.explanation.perturbations import Blend
from ros_xai.explanation.sobol import ConstantOutputWarning

GRID = (3, 4)
CELLS = 12
ONES = np.ones((1, *GRID), dtype=np.float32)  # a pixel per cell: a masked image is its mask
WEIGHTS = np.random.default_rng(0).normal(size=CELLS)
WEIGHTS[5] = 0


def of_signs(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A box that sees masks as signs [n, cells]."""
    return lambda images: function(2.0 * images.reshape(len(images), -1).round() - 1)


def linear(s: np.ndarray) -> np.ndarray:
    return s @ WEIGHTS + 3


def with_pairs(s: np.ndarray) -> np.ndarray:
    return linear(s) + 2 * s[:, 0] * s[:, 1] - s[:, 5] * s[:, 7]


def effects(function: Callable[[np.ndarray], np.ndarray], **more: object) -> MainEffects:
    return MainEffects(of_signs(function), GRID, **{"pairs": 16, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [linear, with_pairs])
def test_one_block_gives_linear_effects_exactly_whatever_the_interactions_of_pairs(function):
    attribution = effects(function).explain(ONES)
    ratio = attribution.values.ravel() / np.where(WEIGHTS == 0, 1, WEIGHTS)
    assert ratio[5] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(np.delete(ratio, 5), ratio[0])
    assert attribution.forwards == 32


def test_squares_are_first_order_indices():
    """V is the sum of the squares of all coefficients of products of signs."""
    attribution = effects(with_pairs, pairs=16 * 128).explain(ONES)
    expected = WEIGHTS**2 / ((WEIGHTS**2).sum() + 4 + 1)
    assert attribution.first is not None
    np.testing.assert_allclose(attribution.first.ravel(), expected, rtol=0.03, atol=1e-12)


def test_the_error_is_that_of_other_masks():
    """Products of three signs are noise to a main effect."""
    triples = np.random.default_rng(1).permuted(np.tile(np.arange(CELLS), (40, 1)), axis=1)[:, :3]

    def rough(s: np.ndarray) -> np.ndarray:
        return linear(s) + s[:, triples].prod(2).sum(1) / 2

    found = [effects(rough, pairs=64, seed=seed).explain(ONES) for seed in range(40)]
    spread = np.std([each.values for each in found], axis=0)
    told = np.mean([each.standard_error for each in found], axis=0)
    assert 0.7 < told.mean() / spread.mean() < 1.4


def test_masks_of_a_block_are_balanced_and_orthogonal():
    rng = np.random.default_rng(0)
    half = fold_over(hadamard(16), CELLS, rng)
    assert (half.T @ half == 16 * np.eye(CELLS)).all()
    assert not (half == fold_over(hadamard(16), CELLS, rng)).all()


def test_it_improves_and_ends_as_it_is_explained_whatever_the_batches():
    few = list(effects(with_pairs, pairs=40, batch_size=7).refine(ONES, every=20))
    assert [each.forwards for each in few] == [20, 42, 62, 80]
    whole = effects(with_pairs, pairs=40).explain(ONES)
    np.testing.assert_allclose(few[-1].values, whole.values, atol=1e-12)
    assert few[0].standard_error is not None and np.isinf(few[0].standard_error).all()
    assert whole.standard_error is not None and np.isfinite(whole.standard_error).all()


def test_several_targets_by_the_same_forwards():
    both = effects(lambda s: np.stack([linear(s), -2 * linear(s)], 1)).explain(ONES)
    assert both.values.shape == (2, *GRID)
    np.testing.assert_allclose(both[1].values, -both[0].values)


def test_a_constant_gives_zeros_and_a_warning():
    with pytest.warns(ConstantOutputWarning):
        attribution = effects(lambda s: np.full(len(s), 7.0)).explain(ONES)
    assert not attribution.values.any()
    assert attribution.constant


def test_an_image_larger_than_its_grid():
    """Tents of cells: the cell that the box looks into has the largest effect."""
    image = np.ones((3, 30, 52), dtype=np.float32)
    box = MainEffects(lambda x: x[:, :, 12:18, 30:34].mean((1, 2, 3)), (5, 7), 64, Blend())
    attribution = box.explain(image)
    assert attribution.top(1) == [(2, 4)]
    assert attribution.heatmap().shape == (30, 52)


@pytest.mark.parametrize("pairs", [0, CELLS - 1])
def test_fewer_pairs_than_cells_are_refused(pairs):
    with pytest.raises(ValueError, match="12 cells need as many pairs"):
        effects(linear, pairs=pairs).explain(ONES)


def test_a_map_is_settled_when_its_errors_are_small_beside_its_values():
    rng = np.random.default_rng(2)

    def noisy(s: np.ndarray) -> np.ndarray:
        return linear(s) + rng.normal(0, 2, len(s))

    plain, few, many = effects(linear), effects(noisy), effects(noisy, pairs=16 * 256)
    assert plain.explain(ONES).settled()
    assert not few.explain(ONES).settled()
    assert many.explain(ONES).settled()


def test_a_map_without_errors_cannot_say_whether_it_is_settled():
    with pytest.raises(ValueError, match="random attribution does not know its standard error"):
        RandomCells(GRID).explain(ONES).settled()
