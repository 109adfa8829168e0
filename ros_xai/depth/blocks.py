"""Layers shared by the depth networks. Feature maps are [B, C, H, W]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016), with ELU instead of ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ELU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(self.body(x) + self.shortcut(x))


def dense_stem(inputs: int, width: int) -> nn.Sequential:
    """ResNet's first convolution, for images: half size."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ELU(inplace=True)
    )


def sparse_stem(inputs: int, width: int) -> nn.Sequential:
    """The same without normalisation: statistics of an almost empty map mean nothing."""
    return nn.Sequential(nn.Conv2d(inputs, width, 7, 2, 3), nn.ELU(inplace=True))


class ResidualStages(nn.Module):
    """ResNet's stages: from a map at 1/2 to the five at 1/2, 1/4, ... 1/32.

    ``pool``: halve by max-pooling before the first stage (images) or by its stride (sparse maps,
    where a maximum of inverse depth would drop the far returns).
    """

    def __init__(self, widths: Sequence[int], blocks: int, pool: bool) -> None:
        super().__init__()
        self.pool: nn.Module = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        strides = [1 if pool else 2, 2, 2, 2]
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(before, after, stride),
                *(ResidualBlock(after, after, 1) for _ in range(blocks - 1)),
            )
            for before, after, stride in zip(widths[:-1], widths[1:], strides)
        )

    def forward(self, stem: Tensor) -> list[Tensor]:
        features, x = [stem], self.pool(stem)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Monodepth2's decoder (Godard et al., ICCV 2019): upsample, join the skip, one head a scale.

    Returns logits of ``outputs`` channels at full, 1/2, 1/4 and 1/8 size, finest first.
    """

    SCALES = 4

    def __init__(self, skips: Sequence[int], widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        inputs = [*widths[1:], skips[-1]]
        joined = [width + skip for width, skip in zip(widths, [0, *skips[:-1]])]
        self.reduce = nn.ModuleList(conv3x3(a, b) for a, b in zip(inputs, widths))
        self.merge = nn.ModuleList(conv3x3(a, b) for a, b in zip(joined, widths))
        self.heads = nn.ModuleList(conv3x3(w, outputs) for w in widths[: self.SCALES])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        x = features[-1]
        logits: list[Tensor] = []
        for i in reversed(range(len(self.merge))):
            x = self.widened(i, x, features)
            if i < self.SCALES:
                logits.insert(0, self.heads[i](x))
        return logits

    def widened(self, i: int, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The map at 1/2^i, made of the one at half its size."""
        x = F.interpolate(F.elu(self.reduce[i](x)), scale_factor=2.0, mode="nearest")
        if i > 0:
            x = torch.cat([x, features[i - 1]], dim=1)
        return F.elu(self.merge[i](x))


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution with reflected borders."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases in every convolution."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
