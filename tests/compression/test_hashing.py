"""Scalar hashing against a density that is summed directly, and what must hold of any hash."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ros_xai.compression import hash_weights
from ros_xai.compression.hashing import density, hash_within
from ros_xai.compression.pruning import hash_layers
from ros_xai.depth.estimator import load_network


def test_density_is_the_kernel_sum():
    rng = np.random.default_rng(0)
    support, bandwidth = np.sort(rng.normal(size=200)), 0.05
    place, smooth = density(support, np.ones(200, dtype=np.int64), bandwidth)
    z = (support[:, None] - support) / bandwidth
    direct = np.exp(-0.5 * z**2).sum(1) / np.sqrt(2 * np.pi) / (200 * bandwidth)
    # weights sit at their nearest grid point, an eighth of a bandwidth away at most
    assert np.abs(smooth[place] - direct).max() < 0.08 * direct.max()
    assert np.abs(smooth[place] - direct).mean() < 0.01 * direct.max()


def test_as_many_values_as_the_directly_summed_density_has_modes():
    weights = np.random.default_rng(1).normal(size=500)
    support = np.sort(weights)
    bandwidth = float(np.median(np.diff(support)))
    grid = np.concatenate([np.linspace(s - 4 * bandwidth, s + 4 * bandwidth, 65) for s in support])
    grid.sort()
    smooth = np.exp(-0.5 * ((grid[:, None] - support) / bandwidth) ** 2).sum(1)
    slope = np.sign(np.diff(smooth))[np.diff(smooth) != 0]
    modes = np.count_nonzero((slope[:-1] > 0) & (slope[1:] < 0))
    hashed = hash_weights(torch.from_numpy(weights))
    assert abs(len(hashed.values) - modes) <= 0.08 * modes


def test_clusters_are_found_and_each_value_lies_inside_its_own():
    centres = torch.tensor([-1.0, -0.2, 0.3, 2.0], dtype=torch.float64)
    noise = 1e-3 * torch.randn(4, 50, generator=torch.Generator().manual_seed(0)).double()
    weights = centres[:, None] + noise
    hashed = hash_weights(weights, bandwidth_scale=50)
    assert len(hashed.values) == 4
    assert torch.all((hashed.values - centres).abs() < 3e-3)
    assert torch.isin(hashed.values, weights).all()  # modes: each a weight, no mean of weights
    assert torch.equal(hashed.codes, torch.arange(4)[:, None].expand(4, 50))


@pytest.mark.parametrize("scale", [1.0, 7.0, 300.0])
@pytest.mark.parametrize("seed", range(3))
def test_rows_of_the_layer_answer_within_the_bound(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(16, 8, 3, 3, generator=generator, dtype=torch.float64)
    hashed = hash_weights(weights, scale)
    x = torch.rand(72, 40, generator=generator, dtype=torch.float64) * 2 - 1
    error = ((weights - hashed.tensor).flatten(1) @ x).abs()
    assert torch.all(error <= hashed.bound[:, None] * x.abs().amax(0) + 1e-12)
    # and it is attained, by the input of signs
    signs = (weights - hashed.tensor).flatten(1).sign()
    attained = ((weights - hashed.tensor).flatten(1) * signs).sum(1)
    assert torch.allclose(attained, hashed.bound)
    assert hashed.max_error == pytest.approx(float((weights - hashed.tensor).abs().max()))
    assert hashed.distinct == weights.unique().numel()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60),
    st.sampled_from([1.0, 3.0, 50.0]),
)
def test_monotone_idempotent_and_within_the_weights(numbers, scale):
    weights = torch.tensor(numbers, dtype=torch.float32)
    hashed = hash_weights(weights, scale)
    order = weights.argsort(stable=True)
    assert torch.all(hashed.tensor[order].diff() >= 0)
    assert torch.equal(hash_weights(hashed.tensor, scale).tensor, hashed.tensor)
    assert torch.all(hashed.values.diff() > 0)
    assert weights.min() <= hashed.values.min() and hashed.values.max() <= weights.max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_trained_layer_is_hashed_once_and_for_all(dtype):
    weights = load_network().decoder.merge[2].weight.detach().to(dtype)
    hashed = hash_weights(weights)
    assert hashed.tensor.dtype == dtype
    assert torch.equal(hash_weights(hashed.tensor).tensor, hashed.tensor)
    if dtype != torch.float16:  # whose own grid is coarse enough to be discrete
        assert len(hashed.values) < 0.5 * weights.unique().numel()


def test_one_value_gives_one_mode():
    hashed = hash_weights(torch.full((4, 3), 0.7))
    assert len(hashed.values) == 1
    assert torch.equal(hashed.tensor, torch.full((4, 3), 0.7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the median of no gap is not a number
        assert hash_weights(torch.tensor([2.0])).values.tolist() == [2.0]


def test_a_discrete_layer_stays_as_it_is():
    weights = torch.tensor([-0.5, 0.0, 0.5]).repeat(20)
    assert torch.equal(hash_weights(weights, 10.0).tensor, weights)


def test_depthwise_kernels_are_not_hashed():
    layers = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2)
    network = nn.Sequential(*layers)
    before = [layer.weight.detach().clone() for layer in layers]
    assert set(hash_layers(network, 50.0)) == {"0", "2"}
    same = [torch.equal(layer.weight, weight) for layer, weight in zip(layers, before)]
    assert same == [False, True, False]


def test_a_wide_bandwidth_does_not_collapse_the_bulk():
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    hashed = hash_weights(weights, 3000.0)
    assert hashed.max_error <= 0.1 * float(weights.std()) + 1e-6
    assert 20 < len(hashed.values) < 200


def test_the_budget_is_kept_and_coarser_budgets_leave_fewer_values():
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    left = []
    for budget in (1e-3, 1e-2, 5e-2):
        hashed = hash_within(weights, budget, widest=1.0)
        assert (hashed.tensor - weights).norm() <= budget * weights.norm()
        left.append(len(hashed.values))
    assert left[0] > left[1] > left[2]


@pytest.mark.parametrize(
    ("weights", "scale"),
    [(torch.zeros(0), 1.0), (torch.tensor([1.0, torch.nan]), 1.0), (torch.ones(3), 0.5),
     (torch.ones(3, dtype=torch.int32), 1.0)],
)  # fmt: skip
def test_what_cannot_be_hashed_is_refused(weights, scale):
    with pytest.raises(ValueError, match="expected"):
        hash_weights(weights, scale)
