"""RISE, occlusion, noise and the gradient methods, on boxes with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.gradients import GradCam, IntegratedGradients
from ros_xai.explanation.perturbations import mean_colour

SHAPE = (24, 40)
RNG = np.random.default_rng(0)
IMAGE = RNG.random((3, *SHAPE), dtype=np.float32) + 0.5
WEIGHTS = np.zeros(SHAPE, dtype=np.float32)
WEIGHTS[9:15, 22:28] = RNG.random((6, 6)) + 0.5


def linear(images: np.ndarray) -> np.ndarray:
    return (images.astype(np.float64) * WEIGHTS).sum((1, 2, 3))


def test_occlusion_of_a_linear_box_is_what_each_cell_adds() -> None:
    attribution = Occlusion(linear, grid=(3, 4)).explain(IMAGE)
    expected = (IMAGE * WEIGHTS).sum(0).reshape(3, 8, 4, 10).sum((1, 3))
    np.testing.assert_allclose(attribution.values, expected, rtol=1e-5, atol=1e-5)
    assert attribution.forwards == 13


def test_occlusion_replaces_by_its_baseline() -> None:
    attribution = Occlusion(linear, grid=(3, 4), baseline=mean_colour).explain(IMAGE)
    added = ((IMAGE - mean_colour(IMAGE)) * WEIGHTS).sum(0)
    expected = added.reshape(3, 8, 4, 10).sum((1, 3))
    np.testing.assert_allclose(attribution.values, expected, rtol=1e-4, atol=1e-4)


def test_occlusion_of_several_targets() -> None:
    both = Occlusion(lambda x: np.stack([linear(x), -linear(x)], 1), grid=(3, 4)).explain(IMAGE)
    np.testing.assert_allclose(both[1].values, -both[0].values)


def test_rise_is_the_conditional_mean_of_the_score() -> None:
    """A box that sees one pixel: E[y | pixel] = E[m^2] / E[m] there, E[m] where independent."""
    box = Rise(lambda x: x[:, 0, 12, 20], grid=(4, 5), masks=6000, batch_size=500)
    heat = box.explain(np.ones((1, *SHAPE), dtype=np.float32)).values
    assert heat.shape == SHAPE
    assert np.unravel_index(heat.argmax(), SHAPE) == pytest.approx((12, 20), abs=1)
    # m blends four coin tosses: E[m^2] = 1/4 + E[sum of squared weights] / 4, over the offsets.
    squares = []
    for pixel, cells, size, offsets in ((12, 4, 30, 6), (20, 5, 48, 8)):
        share = ((pixel + np.arange(offsets) + 0.5) * cells / size - 0.5) % 1
        squares.append((share**2 + (1 - share) ** 2).mean())
    expected = (1 + np.prod(squares)) / 4 / 0.5
    assert heat[12, 20] == pytest.approx(expected, abs=0.01)
    assert heat[0, 0] == pytest.approx(0.5, abs=0.02)


def test_rise_over_what_its_masks_cover_forgets_an_offset_and_as_published_does_not() -> None:
    seen = []

    def constant(images: np.ndarray) -> np.ndarray:
        seen.append(images[:, 0].copy())
        return np.full(len(images), 3.0)

    ones = np.ones((1, *SHAPE), dtype=np.float32)
    heat = Rise(constant, masks=50, batch_size=50).explain(ones).values
    np.testing.assert_allclose(heat, 3, rtol=1e-6)
    published = Rise(constant, masks=50, batch_size=50, over="expected").explain(ones).values
    np.testing.assert_allclose(published, 3 * seen[1].mean(0) / 0.5, rtol=1e-5)
    assert published.std() > 0.05


def test_rise_masks_keep_half_and_its_stream_ends_in_its_answer() -> None:
    sizes = []

    def mean(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return images.mean((1, 2, 3))

    method = Rise(mean, masks=300, batch_size=64)
    ones = np.ones((1, *SHAPE), dtype=np.float32)
    steps = list(method.refine(ones, every=128))
    assert [step.forwards for step in steps] == [128, 256, 300]
    assert max(sizes) == 64
    np.testing.assert_array_equal(steps[-1].values, method.explain(ones).values)
    scores = np.concatenate(
        [
            mean(ones[None] * m[:, None])
            for m in [method._draw(500, SHAPE, np.random.default_rng(1))]
        ]
    )
    assert scores.mean() == pytest.approx(0.5, abs=0.01)


def test_a_target_that_nothing_changes_is_constant() -> None:
    def two(images: np.ndarray) -> np.ndarray:
        return np.stack([linear(images), np.full(len(images), 3.0)], 1)

    for method in (Occlusion(two, grid=(3, 4)), Rise(two, masks=20, batch_size=8)):
        attribution = method.explain(IMAGE)
        assert attribution.constant.tolist() == [False, True]  # type: ignore[union-attr]
        assert (attribution[0].constant, attribution[1].constant) == (False, True)
    single = Rise(linear, masks=1, batch_size=1).explain(IMAGE)
    assert not single.constant


def test_random_cells_depend_on_the_seed_alone() -> None:
    one, other = RandomCells(seed=1).explain(IMAGE), RandomCells(seed=2).explain(IMAGE)
    np.testing.assert_array_equal(one.values, RandomCells(seed=1).explain(IMAGE).values)
    assert abs(np.corrcoef(one.values.ravel(), other.values.ravel())[0, 1]) < 0.4


class Scored(nn.Module):
    """Mean over pixels of each feature: [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        nn.init.constant_(self.features.weight, 1.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        weights = torch.stack([torch.from_numpy(WEIGHTS), torch.ones(SHAPE)])
        return (self.features(images) * weights).sum((2, 3))


def test_integrated_gradients_of_a_linear_network_are_its_terms() -> None:
    pytest.importorskip("captum", reason="captum is not installed")
    attribution = IntegratedGradients(Scored()).explain(IMAGE, lambda y: y[:, 0])
    np.testing.assert_allclose(attribution.values, IMAGE.sum(0) * WEIGHTS, rtol=1e-4, atol=1e-4)


def test_grad_cam_weighs_features_by_their_mean_gradient() -> None:
    pytest.importorskip("captum", reason="captum is not installed")
    network = Scored()
    attribution = GradCam(network, network.features).explain(IMAGE, lambda y: y[:, 0])
    expected = IMAGE.sum(0) * WEIGHTS.mean()
    np.testing.assert_allclose(attribution.values, expected, rtol=1e-4)
