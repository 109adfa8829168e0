"""Generator and critic of layouts: a small progressive GAN with an activation at every scale.

After Semantic Palette (arXiv 2106.01629): the scores of a scale become class probabilities, which
are fed back into the features, so that coarse scales already obey the palette. A layout may be
given in part; then only a region of it is generated, and its surroundings are an input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.generation.semantic_palette import assisted_activation

# assisted: SA; concatenated: the palette is only an input; unconditional: no palette at all.
Conditioning = Literal["assisted", "concatenated", "unconditional"]


@dataclass(frozen=True)
class LayoutConfig:
    """widths: channels at 4x8, 8x16, ...: the last is the layout's own size."""

    classes: int = 11
    latent: int = 32
    widths: tuple[int, ...] = (64, 64, 48, 24)
    conditioning: Conditioning = "assisted"

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the finest layout."""
        rows = 4 * 2 ** (len(self.widths) - 1)
        return rows, 2 * rows


class Scale(NamedTuple):
    """probabilities, masks [B, C, h, w] of a scale and the region [B, 1, h, w] generated in it;
    without the assisted activation the masks are the probabilities."""

    probabilities: Tensor
    masks: Tensor
    region: Tensor


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean_c x_c^2 + 1e-8) (Karras et al., ICLR 2018)."""
    return x * torch.rsqrt((x**2).mean(dim=1, keepdim=True) + 1e-8)


class Block(nn.Module):
    """Two convolutions at one scale, told of the surroundings, and a head of scores."""

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.surroundings = nn.Conv2d(classes + 1, outputs, 3, padding=1)
        self.head = nn.Conv2d(outputs, classes, 1)
        self.feedback = nn.Conv2d(classes, outputs, 3, padding=1)

    def forward(self, x: Tensor, around: Tensor) -> Tensor:
        x = self.first(x) + self.surroundings(around)
        x = pixel_norm(F.leaky_relu(x, 0.2))
        return pixel_norm(F.leaky_relu(self.second(x), 0.2))


class LayoutNetwork(nn.Module):
    """z [B, Z], palette [B, C], source one-hot [B, C, H, W], region [B, 1, H, W] -> scales.

    The source outside the region is kept exactly; a region of ones generates everything.
    """

    def __init__(self, config: LayoutConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LayoutConfig()
        self.conditional = config.conditioning != "unconditional"
        inputs = config.latent + config.classes * self.conditional
        self.start = nn.Linear(inputs, config.widths[0] * 4 * 8)
        pairs = zip((config.widths[0], *config.widths), config.widths)
        self.blocks = nn.ModuleList(Block(a, b, config.classes) for a, b in pairs)

    def forward(
        self, z: Tensor, palette: Tensor, source: Tensor, region: Tensor, scales: int | None = None
    ) -> list[Scale]:
        """One Scale per size, from 4x8 up; `scales` stops early. Everything is brought to the
        size of a scale by averaging."""
        code = torch.cat([pixel_norm(z), palette * 4], dim=1) if self.conditional else pixel_norm(z)
        x = self.start(code).unflatten(1, (-1, 4, 8))
        results = []
        for i, block in enumerate(self.blocks[:scales]):
            if i:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            size = x.shape[2:]
            known = F.adaptive_avg_pool2d(source * (1 - region), size)
            share = F.adaptive_avg_pool2d(region, size)
            x = block(x, torch.cat([known, share], dim=1))
            inside, masks = self._activated(block.head(x), palette, share)
            probabilities = inside * share + known
            results.append(Scale(probabilities, masks, share))
            x = 0.5 * x + F.leaky_relu(block.feedback(probabilities), 0.2)
        return results

    def _activated(self, scores: Tensor, palette: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.conditioning == "assisted":
            # scores of either sign and any size would leave the softmax over pixels too soft
            return assisted_activation(scores * 4, palette, region)
        probabilities = (scores * 4).softmax(dim=1)
        return probabilities, probabilities


class Critic(nn.Module):
    """Layout probabilities [B, C, h, w] at one of the generator's scales -> scores [B].

    For the baseline that concatenates, the palette is a second input, as constant maps.
    """

    def __init__(self, config: LayoutConfig) -> None:
        super().__init__()
        self.with_palette = config.conditioning == "concatenated"
        inputs = config.classes * (1 + self.with_palette)
        widths = config.widths
        self.inputs = nn.ModuleList(nn.Conv2d(inputs, w, 1) for w in widths)
        pairs = zip(widths, (widths[0], *widths))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, a, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(a, b, 3, padding=1),
                nn.LeakyReLU(0.2),
            )
            for a, b in pairs
        )
        self.score = nn.Linear(widths[0] * 4 * 8, 1)

    def forward(self, layout: Tensor, palette: Tensor) -> Tensor:
        scale = (layout.shape[2] // 4).bit_length() - 1
        if self.with_palette:
            maps = palette[:, :, None, None].expand_as(layout)
            layout = torch.cat([layout, maps], dim=1)
        x = F.leaky_relu(self.inputs[scale](layout), 0.2)
        for i in reversed(range(scale + 1)):
            x = self.blocks[i](x)
            if i:
                x = F.avg_pool2d(x, 2)
        return self.score(x.flatten(1))[:, 0]
