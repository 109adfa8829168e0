"""Losses against values computed by hand or by the public references they follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ros_xai.depth.losses import (
    lidar_inverse_depth_l1,
    minimum_reprojection,
    photometric_error,
    smoothness,
    ssim,
    velocity_loss,
)


def ramp() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.arange(16, dtype=torch.float64).reshape(1, 1, 4, 4) / 16
    return x, torch.rot90(x, 1, (2, 3))


def test_ssim_has_the_value_of_monodepth2_and_packnet():
    value = ssim(*ramp())
    assert value.mean().item() == pytest.approx(0.01136894, abs=1e-7)
    assert value[0, 0, 0, 0].item() == pytest.approx(0.02731707, abs=1e-7)


def test_photometric_error_has_the_value_of_the_references():
    assert photometric_error(*ramp()).mean().item() == pytest.approx(0.47173070, abs=1e-7)


def test_ssim_of_equal_images_is_one_and_symmetric():
    x = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    y = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(ssim(x, x), torch.ones_like(x), atol=1e-5)
    assert torch.equal(ssim(x, y), ssim(y, x))


def test_photometric_error_of_constant_images_is_closed_form():
    a, b = torch.full((1, 3, 5, 5), 0.2).double(), torch.full((1, 3, 5, 5), 0.6).double()
    luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    expected = 0.85 * (1 - luminance) / 2 + 0.15 * 0.4
    assert torch.allclose(photometric_error(a, b), torch.full((1, 1, 5, 5), expected).double())


def test_minimum_takes_the_better_source_and_masks_ties():
    warped = torch.tensor([[0.3, 0.2, 0.1], [0.1, 0.4, 0.1]]).reshape(2, 1, 1, 1, 3)
    still = torch.tensor([[0.2, 0.2, 0.3], [0.5, 0.9, 0.05]]).reshape(2, 1, 1, 1, 3)
    error, kept = minimum_reprojection(warped, still)
    assert error.flatten().tolist() == pytest.approx([0.1, 0.2, 0.1])
    assert kept.flatten().tolist() == [True, False, False]  # the tie is strict: not kept


def test_lidar_loss_counts_returns_only():
    depth = torch.tensor([[[[2.0, 4.0, 5.0]]]])
    sparse = torch.tensor([[[[4.0, 0.0, 10.0]]]])
    assert lidar_inverse_depth_l1(depth, sparse).item() == pytest.approx((0.25 + 0.1) / 2)


def test_lidar_loss_without_returns_is_zero_and_has_finite_gradient():
    depth = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    loss = lidar_inverse_depth_l1(depth, torch.zeros(1, 1, 2, 2))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(depth.grad, torch.zeros_like(depth))


def test_smoothness_of_a_ramp_is_closed_form():
    disparity = torch.tensor([[1.0, 2.0, 3.0]]).repeat(4, 1)[None, None]
    flat, edges = torch.zeros(1, 3, 4, 3), torch.tensor([0.0, 1.0, 2.0]).expand(1, 3, 4, 3)
    assert smoothness(disparity, flat).item() == pytest.approx(0.5)  # mean 2: steps of 1/2
    assert smoothness(disparity, edges).item() == pytest.approx(0.5 * math.exp(-1), rel=1e-6)


def test_smoothness_does_not_depend_on_scale():
    generator = torch.Generator().manual_seed(3)
    disparity, image = (torch.rand(2, c, 6, 7, generator=generator) + 0.1 for c in (1, 3))
    assert smoothness(7 * disparity, image).item() == pytest.approx(
        smoothness(disparity, image).item(), rel=1e-5
    )


def test_velocity_loss_compares_lengths():
    translation = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    assert velocity_loss(translation, torch.tensor([4.0, 1.5])).item() == pytest.approx(0.75)


def test_photometric_error_agrees_with_a_windowed_reference():
    """3x3 statistics by numpy in the interior, where no border rule matters."""
    rng = np.random.default_rng(5)
    x, y = rng.random((2, 7, 8))
    windows = [np.lib.stride_tricks.sliding_window_view(a, (3, 3)) for a in (x, y)]
    mx, my = (w.mean((-1, -2)) for w in windows)
    vx, vy = (w.var((-1, -2)) for w in windows)
    cov = (windows[0] * windows[1]).mean((-1, -2)) - mx * my
    expected = ((2 * mx * my + 1e-4) * (2 * cov + 9e-4)) / (
        (mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)
    )
    ours = ssim(*(torch.from_numpy(a)[None, None] for a in (x, y)))[0, 0, 1:-1, 1:-1]
    assert np.allclose(ours.numpy(), expected)
