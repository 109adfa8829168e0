"""A small encoder-decoder for street scenes, fast on a CPU: 0.9 M parameters, strides 2 to 16.

Plain 3x3 convolutions only (what CPU engines run best), a residual encoder, a feature pyramid that
adds the stages at stride 4, and one or more heads that read a named feature map.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ("stage1", "stage2", "stage3")  # strides 4, 8 and 16


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network; `heads` are pairs (name, feature map it reads); the first is default.

    widths: channels at strides 2, 4, 8 and 16; blocks: residual blocks per stage.
    """

    classes: int = 11
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    blocks: int = 2
    decoder: int = 48
    heads: tuple[tuple[str, str], ...] = (("main", "fused"),)


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """Convolution and batch normalisation, foldable into one layer."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Residual(nn.Module):
    """relu(x + conv(relu(conv(x)))), both 3x3 (He et al., CVPR 2016)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = conv(channels, channels, dilation=dilation)
        self.second = conv(channels, channels, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class Stage(nn.Module):
    """Halves the map, then residual blocks of dilation 1, 2, 1, 2, ... for a wider context."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.down = conv(inputs, outputs, stride=2)
        self.blocks = nn.Sequential(*(Residual(outputs, 1 + i % 2) for i in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(F.relu(self.down(x)))


class Head(nn.Module):
    """3x3 convolution to the embedding, then a linear classifier per pixel."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.embed = conv(inputs, width)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding [B, D, h, w] and logits [B, C, h, w] at the resolution of x."""
        embedding = F.relu(self.embed(x))
        return embedding, self.classifier(embedding)


class SegmentationNetwork(nn.Module):
    """image [B, 3, H, W] in [0, 1] rgb -> logits [B, C, H, W]; H and W at least 16, any parity."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        widths, decoder = self.config.widths, self.config.decoder
        self.stem = conv(3, widths[0], stride=2)
        self.stages = nn.ModuleList(
            Stage(a, b, self.config.blocks) for a, b in itertools.pairwise(widths)
        )
        self.context = nn.Conv2d(widths[3], decoder, 1)
        self.laterals = nn.ModuleList(conv(width, decoder, kernel=1) for width in widths[1:])
        channels = {**dict(zip(STAGES, widths[1:])), "fused": decoder}
        self.heads = nn.ModuleDict()
        for name, source in self.config.heads:
            if source not in channels:
                raise ValueError(f"head {name} reads {source}; expected one of {list(channels)}")
            self.heads[name] = Head(channels[source], decoder, self.config.classes)

    def encode(self, image: Tensor) -> dict[str, Tensor]:
        """Feature maps stage1, stage2, stage3 (strides 4, 8, 16) and fused (stride 4)."""
        x = F.relu(self.stem((image - 0.5) * 4))
        features = {}
        for name, stage in zip(STAGES, self.stages):
            features[name] = x = stage(x)
        fused = self.context(x.mean((2, 3), keepdim=True))
        for name, lateral in reversed(list(zip(STAGES, self.laterals))):
            part = lateral(features[name])
            fused = part + resize(fused, part.shape[2:])
        features["fused"] = F.relu(fused)
        return features

    def layers(self, image: Tensor, head: str | None = None) -> dict[str, Tensor]:
        """Every named map: those of `encode`, and the head's `embedding` and `logits`."""
        name = head or self.config.heads[0][0]
        features = self.encode(image)
        embedding, logits = self.heads[name](features[dict(self.config.heads)[name]])
        return {**features, "embedding": embedding, "logits": logits}

    def forward(self, image: Tensor, head: str | None = None) -> Tensor:
        return resize(self.layers(image, head)["logits"], image.shape[2:])


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear interpolation of [B, C, h, w] to `size` (pixel centres at halves)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def with_heads(
    network: SegmentationNetwork, heads: tuple[tuple[str, str], ...]
) -> SegmentationNetwork:
    """A copy of `network` with the given heads; a new head starts as a copy of the default one
    where both read a map of the same width, else at random."""
    copy = SegmentationNetwork(dataclasses.replace(network.config, heads=heads))
    state, own = network.state_dict(), copy.state_dict()
    default = f"heads.{network.config.heads[0][0]}."
    for key, value in own.items():
        source = key
        if key not in state and key.startswith("heads."):
            source = default + key.split(".", 2)[2]
        if source in state and state[source].shape == value.shape:
            own[key] = state[source]
    copy.load_state_dict(own)
    return copy
