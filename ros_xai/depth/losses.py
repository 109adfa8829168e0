"""Losses of LiDARTouch (Bartoccioni et al., arXiv 2109.03569, section 3), one function each.

Images are [B, 3, H, W] in [0, 1]; depth and disparity (inverse depth, 1/m) are [B, 1, H, W];
a sparse depth is metres with 0 where there is no return.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``; 0 (with a gradient path) when the mask is empty."""
    mask = mask.to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp(min=1.0)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity over 3x3 windows with reflected borders.

    x, y: [B, C, H, W] in [0, 1]; returns [B, C, H, W] in [-1, 1].
    Source: Wang et al., IEEE TIP 2004, eq. 13, with C1 = 0.01^2 and C2 = 0.03^2.
    """
    c1, c2 = 0.01**2, 0.03**2

    def average(image: Tensor) -> Tensor:
        # Sums of slices: three times as fast on a CPU as avg_pool2d and its gradient.
        x = F.pad(image, (1, 1, 1, 1), mode="reflect")
        x = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
        return (x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]) / 9

    mean_x, mean_y = average(x), average(y)
    var_x = average(x * x) - mean_x**2
    var_y = average(y * y) - mean_y**2
    cov = average(x * y) - mean_x * mean_y
    return ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )


def photometric_error(x: Tensor, y: Tensor, alpha: float = 0.85) -> Tensor:
    """alpha * (1 - SSIM) / 2 + (1 - alpha) * |x - y|, averaged over channels.

    x, y: [B, C, H, W] in [0, 1]; returns [B, 1, H, W]. Source: Godard et al., ICCV 2019, eq. 3.
    """
    structure = ((1 - ssim(x, y)) / 2).clamp(0, 1).mean(1, keepdim=True)
    absolute = (x - y).abs().mean(1, keepdim=True)
    return alpha * structure + (1 - alpha) * absolute


def minimum_reprojection(errors: Tensor, identity_errors: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum over sources and the auto-mask (Godard et al., ICCV 2019, eq. 4 and 5).

    errors, identity_errors: [S, B, 1, H, W], photometric errors of the warped and of the
    unwarped sources. Returns the minimal warped error [B, 1, H, W] and the bool mask of pixels
    that warping explains strictly better than standing still.
    """
    error = errors.amin(0)
    return error, error < identity_errors.amin(0)


def lidar_inverse_depth_l1(depth: Tensor, sparse_depth: Tensor) -> Tensor:
    """Mean of |1/D - 1/d| over the pixels with a LiDAR return d > 0; 0 when there is none.

    depth: [B, 1, H, W] metres > 0; sparse_depth: [B, 1, H, W] metres. Returns a scalar (1/m).
    """
    hit = sparse_depth > 0
    inverse = torch.where(hit, sparse_depth, torch.ones_like(sparse_depth)).reciprocal()
    return masked_mean((depth.reciprocal() - inverse).abs(), hit)


def log_depth_l1(depth: Tensor, truth: Tensor) -> Tensor:
    """Mean of |log D - log d| where d > 0: a relative error that near and far share alike.

    depth, truth: [B, 1, H, W] metres.
    """
    known = truth > 0
    log_truth = torch.where(known, truth, torch.ones_like(truth)).log()
    return masked_mean((depth.log() - log_truth).abs(), known)


def smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    """Edge-aware first-order smoothness of the mean-normalised disparity.

    mean(|d_x| exp(-|I_x|) + |d_y| exp(-|I_y|)); disparity: [B, 1, H, W], image: [B, 3, H, W].
    Source: Godard et al., ICCV 2019, section 3.2.
    """
    disparity = disparity / disparity.mean((2, 3), keepdim=True).clamp(min=1e-7)

    def term(axis: int) -> Tensor:
        gradient = disparity.diff(dim=axis).abs()
        edge = image.diff(dim=axis).abs().mean(1, keepdim=True)
        return (gradient * torch.exp(-edge)).mean()

    return term(3) + term(2)


def velocity_loss(translation: Tensor, distance: Tensor) -> Tensor:
    """Mean of | ||t|| - distance |: metric scale from GPS or IMU (Guizilini et al., CVPR 2020).

    translation: [..., 3] predicted, metres; distance: [...] travelled, metres.
    """
    return (translation.norm(dim=-1) - distance).abs().mean()
