"""Images from layouts with one style code per class: a small SPADE / SEAN generator.

After SEAN (Zhu et al., CVPR 2020), on whose codes STEEX (arXiv 2111.09094) searches. Every norm is
modulated by the layout and by the codes of the classes, laid out over their regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ImageConfig:
    """style: length of a code; widths: channels at 4x8, 8x16, ... up to the image's size."""

    classes: int = 11
    style: int = 32
    encoder: tuple[int, int, int] = (12, 20, 32)
    layout: int = 12
    widths: tuple[int, ...] = (80, 80, 64, 32, 20)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        rows = 4 * 2 ** (len(self.widths) - 1)
        return rows, 2 * rows


def region_pool(features: Tensor, layout: Tensor) -> Tensor:
    """Mean and maximum of features [B, D, H, W] over each class of a one-hot layout [B, C, H, W].

    [B, C, 2 D]; 0 for a class that is absent. The mean is SEAN's; the maximum keeps what is small
    in a large region, as a lit lamp on a car.
    """
    area = layout.sum(dim=(2, 3))[:, :, None]
    mean = torch.einsum("bdhw,bchw->bcd", features, layout) / area.clamp(min=1)
    index = layout.argmax(dim=1).flatten(1)[:, None].expand(-1, features.shape[1], -1)
    lowest = features.new_full((*features.shape[:2], layout.shape[1]), -1e4)
    largest = lowest.scatter_reduce(2, index, features.flatten(2), "amax").transpose(1, 2)
    return torch.cat([mean, torch.where(area > 0, largest, 0.0)], dim=2)


class StyleEncoder(nn.Module):
    """Image [B, 3, H, W] in [-1, 1] and layout [B, C, H, W] -> codes [B, C, D]."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        a, b, c = config.encoder
        self.fine = nn.Sequential(_conv(3, a), _conv(a, b))
        self.coarse = nn.Sequential(_conv(b, c, stride=2), _conv(c, c))
        self.fine_code = nn.Conv2d(b, config.style // 4, 1)
        self.coarse_code = nn.Conv2d(c, config.style // 4, 1)
        self.mix = nn.Linear(4 * (config.style // 4) + 6, config.style)

    def forward(self, image: Tensor, layout: Tensor) -> Tensor:
        fine = self.fine(image)
        coarse = F.interpolate(self.coarse_code(self.coarse(fine)), image.shape[2:])
        # the colours themselves are among what is pooled: nothing need be learnt to keep them
        pooled = region_pool(torch.cat([self.fine_code(fine), coarse, image], dim=1), layout)
        present = (layout.sum(dim=(2, 3)) > 0)[:, :, None]
        return torch.tanh(self.mix(pooled)) * present


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, padding_mode="reflect"), nn.LeakyReLU(0.2)
    )


class RegionNorm(nn.Module):
    """BN(x) (1 + gamma) + beta; gamma and beta are blended from codes and from the layout."""

    def __init__(self, channels: int, config: ImageConfig) -> None:
        super().__init__()
        hidden = min(channels, 32)
        self.norm = nn.BatchNorm2d(channels, affine=False)
        scale = config.style**-0.5
        self.per_class = nn.Parameter(torch.randn(config.classes, config.style, hidden) * scale)
        self.of_style = nn.Conv2d(hidden, 2 * channels, 1)
        self.shared = nn.Conv2d(config.classes, config.layout, 3, padding=1)
        self.of_layout = nn.Conv2d(config.layout, 2 * channels, 3, padding=1)
        self.blend = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, layout: Tensor, codes: Tensor) -> Tensor:
        """x [B, F, h, w]; layout [B, C, h, w] soft; codes [B, C, D]."""
        styles = F.relu(torch.einsum("bcd,cdf->bcf", codes, self.per_class))
        spread = torch.einsum("bcf,bchw->bfhw", styles, layout)
        by_style = self.of_style(spread).chunk(2, dim=1)
        by_layout = self.of_layout(F.relu(self.shared(layout))).chunk(2, dim=1)
        share = self.blend.sigmoid()
        gamma = share[0] * by_style[0] + (1 - share[0]) * by_layout[0]
        beta = share[1] * by_style[1] + (1 - share[1]) * by_layout[1]
        return self.norm(x) * (1 + gamma) + beta


class ResBlock(nn.Module):
    """x' + conv(lrelu(norm(x))), twice; x' has the new number of channels."""

    def __init__(self, inputs: int, outputs: int, config: ImageConfig) -> None:
        super().__init__()
        self.norm = RegionNorm(inputs, config)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, layout: Tensor, codes: Tensor) -> Tensor:
        y = self.first(F.leaky_relu(self.norm(x, layout, codes), 0.2))
        return self.skip(x) + self.second(F.leaky_relu(y, 0.2))


class ImageNetwork(nn.Module):
    """Layout one-hot [B, C, H, W] and codes [B, C, D] -> image [B, 3, H, W] in [-1, 1]."""

    def __init__(self, config: ImageConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ImageConfig()
        widths = config.widths
        self.encoder = StyleEncoder(config)
        self.start = nn.Conv2d(config.classes, widths[0], 3, padding=1)
        pairs = zip((widths[0], *widths), widths)
        self.blocks = nn.ModuleList(ResBlock(a, b, config) for a, b in pairs)
        self.colour = nn.Conv2d(widths[-1], 3, 3, padding=1)
        # a base colour per region, linear in its code: a short way from style to image
        self.base = nn.Parameter(torch.randn(config.classes, config.style, 3) * 0.02)

    def forward(self, layout: Tensor, codes: Tensor) -> Tensor:
        rows, columns = layout.shape[2:]
        last = len(self.blocks) - 1
        x = None
        for i, block in enumerate(self.blocks):
            size = (rows // 2 ** (last - i), columns // 2 ** (last - i))
            coarse = layout if i == last else F.adaptive_avg_pool2d(layout, size)
            x = self.start(coarse) if x is None else F.interpolate(x, size, mode="nearest")
            x = block(x, coarse, codes)
        base = torch.einsum("bcd,cdk,bchw->bkhw", codes, self.base, layout)
        return torch.tanh(self.colour(F.leaky_relu(x, 0.2)) + base)

    def reconstruct(self, image: Tensor, layout: Tensor) -> Tensor:
        """The image again, from its layout and its own codes."""
        return self(layout, self.encoder(image, layout))


class PatchCritic(nn.Module):
    """Image and layout -> features of each level and scores [B, 1, h, w] of its patches."""

    def __init__(self, classes: int, widths: tuple[int, int, int] = (24, 48, 64)) -> None:
        super().__init__()
        a, b, c = widths
        self.levels = nn.ModuleList(
            [
                nn.Conv2d(3 + classes, a, 4, 2, 1),
                nn.Conv2d(a, b, 4, 2, 1),
                nn.Conv2d(b, c, 3, 1, 1),
            ]
        )
        self.score = nn.Conv2d(c, 1, 3, 1, 1)

    def forward(self, image: Tensor, layout: Tensor) -> tuple[list[Tensor], Tensor]:
        x = torch.cat([image, layout], dim=1)
        features = []
        for level in self.levels:
            x = F.leaky_relu(level(x), 0.2)
            features.append(x)
        return features, self.score(x)
