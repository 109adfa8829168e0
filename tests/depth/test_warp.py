"""View synthesis against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.core.camera import back_project, project
from ros_xai.core.geometry import pose, rotation_z, transform
from ros_xai.depth.warp import reproject, warp

K = torch.tensor([[[50.0, 0, 15.5], [0, 50, 11.5], [0, 0, 1]]], dtype=torch.float64)


def image(height: int = 24, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)


def test_identity_returns_the_image():
    depth = torch.full((1, 1, 24, 32), 7.0, dtype=torch.float64)
    warped, visible = warp(image(), depth, torch.eye(4, dtype=torch.float64)[None], K)
    assert torch.allclose(warped, image(), atol=1e-9)
    assert visible.all()


@pytest.mark.parametrize("pixels", [1, 3])
def test_sideways_motion_shifts_by_focal_times_baseline_over_depth(pixels):
    depth = torch.full((1, 1, 24, 32), 10.0, dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)[None].clone()
    T[0, 0, 3] = pixels * 10.0 / 50.0  # f b / Z = pixels
    warped, visible = warp(image(), depth, T, K)
    assert torch.allclose(warped[..., : 32 - pixels], image()[..., pixels:], atol=1e-9)
    assert visible[0, 0].sum(1).tolist() == [32 - pixels] * 24


def test_points_behind_the_source_are_not_visible():
    depth = torch.full((1, 1, 24, 32), 2.0, dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)[None].clone()
    T[0, 2, 3] = -5.0
    _, visible = warp(image(), depth, T, K)
    assert not visible.any()


def test_reprojection_agrees_with_the_numpy_camera():
    rng = np.random.default_rng(2)
    depth = rng.uniform(3, 30, (24, 32))
    T = pose(rotation_z(0.05), [0.3, -0.1, -0.5])
    uv, z = reproject(torch.from_numpy(depth)[None, None], torch.from_numpy(T)[None], K)
    points = transform(T, back_project(depth, K[0].numpy()))
    assert np.allclose(z[0].numpy(), points[..., 2])
    assert np.allclose(uv[0].numpy(), project(points, K[0].numpy()))
