"""V-REx, IRM and CORAL against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ros_xai.generalization.penalties import coral, irm, vrex


def test_vrex_is_the_variance_of_the_risks():
    assert vrex([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(6.0)]).item() == pytest.approx(
        np.var([1, 2, 6])
    )


def test_irm_is_the_squared_derivative_by_a_dummy_scale():
    logits, labels = torch.randn(20, 5), torch.randint(0, 5, (20,))
    scale = torch.ones(1, requires_grad=True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(scale * logits, labels), scale)
    torch.testing.assert_close(irm(logits, labels), gradient.square().squeeze())


def test_coral_of_shifted_and_scaled_domains_has_a_closed_form():
    x = torch.randn(50, 3).double()
    shifted = coral([x, x + 2])
    assert shifted.item() == pytest.approx(4)
    scaled = coral([x - x.mean(0), 2 * (x - x.mean(0))])
    assert scaled.item() == pytest.approx((9 * np.cov(x.numpy().T) ** 2).mean())


def test_coral_averages_over_pairs_and_vanishes_for_equal_domains():
    x = torch.randn(30, 2)
    assert coral([x, x]).item() == 0
    pairs = [coral([x, x + 1]), coral([x, x]), coral([x + 1, x])]
    assert coral([x, x + 1, x]).item() == pytest.approx(sum(p.item() for p in pairs) / 3)
