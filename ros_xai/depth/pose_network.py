"""A network that guesses ego motion from two images: the baseline that PnP replaces."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.depth.blocks import ResidualStages, dense_stem, initialise


class PoseNetwork(nn.Module):
    """Encoder on target||source [B, 6, H, W]; returns T_source_target [B, 4, 4].

    Squeeze and two 3x3 convolutions, 6 numbers (t, rotation vector), averaged over the image and
    times 0.1, as Godard et al., ICCV 2019. The translation has no metric scale of its own.
    """

    def __init__(
        self, widths: Sequence[int] = (64, 64, 128, 256, 512), blocks: int = 2, hidden: int = 256
    ) -> None:
        super().__init__()
        self.stem = dense_stem(6, widths[0])
        self.stages = ResidualStages(widths, blocks, pool=True)
        self.squeeze = nn.Conv2d(widths[-1], hidden, 1)
        self.first = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, 6, 1)
        initialise(self)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        x = self.stages(self.stem(torch.cat([target, source], dim=1)))[-1]
        for layer in (self.squeeze, self.first, self.second):
            x = F.relu(layer(x))
        vector = 0.1 * self.head(x).mean((2, 3))
        return motion_matrix(vector[:, :3], vector[:, 3:])


def motion_matrix(translation: Tensor, rotation: Tensor) -> Tensor:
    """[B, 4, 4] of translations [B, 3] and rotation vectors [B, 3] (axis times angle, rad)."""
    x, y, z = rotation.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    top = torch.cat([torch.linalg.matrix_exp(skew), translation[..., None]], dim=-1)
    bottom = top.new_tensor([0.0, 0, 0, 1]).expand(len(top), 1, 4)
    return torch.cat([top, bottom], dim=1)
