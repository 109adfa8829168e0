"""View synthesis: look up a source image where the target's pixels land in it.

Depth is [B, 1, H, W] metres along the optical axis, intrinsics [B, 3, 3] in pixels (pixel
centres at integers), T_source_target [B, 4, 4] maps target camera points into the source camera.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_Z = 1e-3  # metres in front of the source camera; nearer or behind cannot be seen
BORDER = 1e-5  # of half the image: rounding must not lose the outermost pixels


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Homogeneous pixel coordinates [3, H*W] on the device and dtype of ``like``."""
    v, u = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=like.dtype),
        torch.arange(width, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1)


def reproject(depth: Tensor, T_source_target: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """p_s ~ K T_st (D(p) K^-1 p). Returns uv [B, H, W, 2] px and z [B, H, W] m in the source."""
    batch, _, height, width = depth.shape
    rays = torch.linalg.inv(intrinsics) @ pixel_grid(height, width, depth)  # [B, 3, HW]
    points = T_source_target[:, :3, :3] @ (rays * depth.reshape(batch, 1, -1))
    projected = intrinsics @ (points + T_source_target[:, :3, 3:])
    z = projected[:, 2].reshape(batch, height, width)
    uv = projected[:, :2] / projected[:, 2:].clamp(min=MIN_Z)
    return uv.transpose(1, 2).reshape(batch, height, width, 2), z


def warp(
    source: Tensor, depth: Tensor, T_source_target: Tensor, intrinsics: Tensor
) -> tuple[Tensor, Tensor]:
    """Source image seen from the target: bilinear, zero outside.

    source: [B, C, H, W]. Returns the image [B, C, H, W] and a bool mask [B, 1, H, W] of the
    pixels that land inside the source and in front of its camera.
    """
    height, width = source.shape[-2:]
    uv, z = reproject(depth, T_source_target, intrinsics)
    size = uv.new_tensor([width - 1, height - 1])
    grid = 2 * uv / size - 1
    visible = (grid.abs() <= 1 + BORDER).all(-1) & (z > MIN_Z)
    image = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return image, visible.unsqueeze(1)
