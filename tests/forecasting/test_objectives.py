"""The terms against torch.distributions, and what each objective trains."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import (
    Categorical,
    MixtureSameFamily,
    MultivariateNormal,
    OneHotCategorical,
    kl_divergence,
)

from ros_xai.forecasting import objectives
from ros_xai.forecasting.network import Modes
from ros_xai.forecasting.objectives import OUTLIER, Branch, Weights

B, K, T = 5, 4, 12


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _modes() -> Modes:
    half = _random(B, K, T, 2, 2, seed=0)
    return Modes(_random(B, K, T, 2, seed=1), half @ half.mT + 2 * torch.eye(2))


class TwoBranches:
    def __init__(self) -> None:
        def leaf(seed: int, *steps: int) -> torch.Tensor:
            return _random(B, K, *steps, seed=seed).requires_grad_()

        self.full = Branch(leaf(2), leaf(3), leaf(4, T))
        self.blind = Branch(leaf(5), leaf(6), leaf(7, T))


def test_likely_steps_have_the_density_of_the_normal_distribution() -> None:
    modes, truth = _modes(), _random(B, T, 2, seed=8)
    noisy = modes.covariance + 0.01**2 * torch.eye(2)
    normal = MultivariateNormal(modes.mean, noisy).log_prob(truth[:, None])
    squared = (truth[:, None] - modes.mean).square().sum(dim=-1)
    expected = torch.logaddexp(normal, -6 - squared / (2 * OUTLIER**2))
    assert torch.allclose(objectives.log_density(modes, truth), expected)


def test_outliers_and_certainty_are_bounded_per_step() -> None:
    tight = Modes(torch.zeros(1, 1, T, 2), torch.eye(2).expand(1, 1, T, 2, 2) * 1e-6)
    far = torch.tensor([12.0, 16.0]).expand(1, T, 2)
    outliers = objectives.log_density(tight, far)
    certain = objectives.log_density(tight, torch.zeros(1, T, 2))
    assert torch.allclose(outliers, torch.full((1, 1, T), -6.5), atol=1e-4)
    assert torch.equal(certain, torch.full((1, 1, T), 6.0))


def test_modes_that_are_all_far_off_are_still_drawn_to_the_truth() -> None:
    mean = torch.full((1, 1, T, 2), 50.0, requires_grad=True)
    tight = Modes(mean, torch.eye(2).expand(1, 1, T, 2, 2) * 1e-2)
    objectives.log_density(tight, torch.zeros(1, T, 2)).sum().backward()
    assert (mean.grad < -0.1).all()


def test_the_mixture_is_one_at_every_step() -> None:
    modes, truth, logits = _modes(), _random(B, T, 2, seed=8), _random(B, K, seed=9)
    components = MultivariateNormal(
        modes.mean.transpose(1, 2), modes.covariance.transpose(1, 2)
    )  # [B,T], K of them
    weights = Categorical(logits=logits[:, None].expand(B, T, K))
    expected = MixtureSameFamily(weights, components).log_prob(truth).sum(dim=-1)
    density = components.log_prob(truth[:, :, None]).transpose(1, 2)
    assert torch.allclose(objectives.mixture_log_likelihood(logits, density), expected)


def test_a_latent_that_names_the_wrong_mode_pays_at_every_step() -> None:
    fits = torch.tensor([0.0, -6.0])[None, :, None].expand(1, 2, T)  # log densities of two modes
    right, wrong = torch.tensor([[5.0, -5.0]]), torch.tensor([[-5.0, 5.0]])
    price = objectives.mixture_log_likelihood(right, fits) - (
        objectives.mixture_log_likelihood(wrong, fits)
    )
    # Of each step: -log(exp(-10) + exp(-6)), with softmax(5, -5) = (1, exp(-10)) to 1e-4.
    assert price.item() == pytest.approx(-T * math.log(math.exp(-10) + math.exp(-6)), rel=1e-3)


def test_the_divergence_is_that_of_categorical_distributions() -> None:
    a, b = _random(B, K, seed=2), _random(B, K, seed=3)
    expected = kl_divergence(OneHotCategorical(logits=a), OneHotCategorical(logits=b))
    assert torch.allclose(objectives.categorical_kl(a, b), expected)


def test_clipped_logits_bound_the_divergence() -> None:
    # Softmax of one 5 among 24 -5 against one -5 among 24 5: the most that K = 25 allows.
    a = torch.full((1, 25), -5.0).index_fill(1, torch.tensor([0]), 5.0)
    assert objectives.categorical_kl(a, -a).item() == pytest.approx(13.2, abs=0.1)


def test_mutual_information_is_the_latent_entropy_that_the_input_explains() -> None:
    one_each = 50 * torch.eye(K)
    assert objectives.mutual_information(one_each).item() == pytest.approx(math.log(K), abs=1e-4)
    assert objectives.mutual_information(torch.zeros(B, K)).item() == pytest.approx(0, abs=1e-6)


def test_the_bound_of_a_worked_example() -> None:
    prior, posterior = torch.zeros(1, 2), torch.log(torch.tensor([[0.75, 0.25]]))
    density = torch.log(torch.tensor([[[0.2], [0.4]]]))
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    branch, weights = Branch(prior, posterior, density), Weights(kl=10, free_bits=0.07)
    loss = objectives.cvae(branch, weights)
    assert loss.item() == pytest.approx(-math.log(0.25) + 10 * kl, rel=1e-5)
    free = objectives.cvae(branch, replace(weights, free_bits=1.0))
    assert free.item() == pytest.approx(-math.log(0.25) + 10, rel=1e-5)


def test_cab_is_the_sum_of_its_terms() -> None:
    branches, weights = TwoBranches(), Weights(blind=0.7, divergence=3.0)
    divergence = objectives.categorical_kl(branches.full.prior, branches.blind.prior).mean()
    expected = (
        objectives.cvae(branches.full, weights)
        + 0.7 * objectives.cvae(branches.blind, weights)
        - 3.0 * divergence
    )
    assert torch.allclose(objectives.cab(branches, weights), expected)
    none = Weights(blind=0.0, divergence=0.0)
    assert torch.allclose(objectives.cab(branches, none), objectives.base(branches, none))


def test_the_divergence_pushes_the_full_prior_alone() -> None:
    branches = TwoBranches()
    weights = Weights(kl=0.0, blind=0.0, divergence=1.0)
    blind = branches.blind.prior
    (gradient,) = torch.autograd.grad(
        objectives.cab(branches, weights), blind, allow_unused=True, materialize_grads=True
    )
    # All that reaches the blind prior is its own mutual information, weighed with lambda = 0.
    assert not gradient.any()
    full = branches.full.prior
    (with_it,) = torch.autograd.grad(objectives.cab(branches, weights), full)
    (without,) = torch.autograd.grad(objectives.base(branches, weights), full)
    (of_divergence,) = torch.autograd.grad(
        objectives.categorical_kl(full, blind.detach()).mean(), full
    )
    assert torch.allclose(with_it, without - of_divergence)


def test_reweight_counts_what_the_blind_branch_knows_for_less() -> None:
    branches, weights = TwoBranches(), Weights(kl=0.0)
    branches.blind = branches.blind._replace(
        log_density=torch.tensor([5.0, 0, -5, 0, 0]).double()[:, None, None].expand(B, K, T)
    )
    loss = objectives.reweight(branches, weights)
    density = branches.full.log_density
    (gradient,) = torch.autograd.grad(loss, density)
    (plain,) = torch.autograd.grad(objectives.base(branches, weights), density)
    ratio = (gradient / plain).mean(dim=(1, 2))
    sigmoid = 1 / (1 + math.exp(5))
    assert ratio.tolist() == pytest.approx([1 + sigmoid, 1.5, 2 - sigmoid, 1.5, 1.5])


def test_reweight_leaves_the_blind_branch_to_its_own_loss() -> None:
    branches, weights = TwoBranches(), Weights(kl=2.0, free_bits=0.0)
    loss, own = objectives.reweight(branches, weights), objectives.cvae(branches.blind, weights)
    gradients = torch.autograd.grad(loss, branches.blind)
    for found, expected in zip(gradients, torch.autograd.grad(own, branches.blind)):
        assert expected.any() and torch.allclose(found, expected)


def test_rubiz_fuses_products_of_sigmoids_and_leaves_the_blind_prior_to_its_own_loss() -> None:
    branches, weights = TwoBranches(), Weights(kl=2.0, free_bits=0.0, unfused=0.0)
    fused = Branch(
        branches.full.prior.sigmoid() * branches.blind.prior.sigmoid(),
        branches.full.posterior.sigmoid() * branches.blind.posterior.sigmoid(),
        branches.full.log_density,
    )
    expected = objectives.cvae(fused, weights) + objectives.cvae(branches.blind, weights)
    loss = objectives.rubiz(branches, weights)
    assert torch.allclose(loss, expected)
    (gradient,) = torch.autograd.grad(loss, branches.blind.prior)
    own = objectives.cvae(branches.blind, weights)
    assert torch.allclose(gradient, torch.autograd.grad(own, branches.blind.prior)[0])


def test_single_branch_objectives_never_compute_the_other() -> None:
    class Only:
        def __init__(self, name: str) -> None:
            setattr(self, name, TwoBranches().full)

    assert torch.isfinite(objectives.base(Only("full"), Weights()))
    assert torch.isfinite(objectives.no_context(Only("blind"), Weights()))
