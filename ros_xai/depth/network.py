"""Depth networks: Monodepth2 (camera), Monodepth2-L (camera and LiDAR), sparse-to-dense.

All take image [B, 3, H, W] in [0, 1] and geometry [B, 4, H, W] (see ``inputs.py``), H and W
multiples of 32, and return disparities (inverse depth, 1/m) [B, 1, H/2^i, W/2^i] for i = 0..3,
finest first. One forward signature, so one training loop and one export serve all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ros_xai.depth.blocks import (
    Decoder,
    ResidualStages,
    dense_stem,
    initialise,
    sparse_stem,
)
from ros_xai.depth.inputs import FILL

MAX_RESIDUAL = 2.0  # a prior may be corrected by a factor of e^2 at most


@dataclass(frozen=True)
class NetworkConfig:
    """Defaults are LiDARTouch's (arXiv 2109.03569 and its code).

    ``prior``: correct the interpolated depth instead of predicting from nothing; the head then
    has a residual on its logarithm and a gate to a free disparity where it cannot be trusted.
    """

    architecture: Literal["monodepth2", "monodepth2_lidar", "sparse_to_dense"] = "monodepth2_lidar"
    image_widths: tuple[int, ...] = (64, 64, 128, 256, 512)
    lidar_widths: tuple[int, ...] = (64, 64, 128, 256, 512)
    decoder_widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    blocks: int = 2
    min_depth: float = 0.5
    max_depth: float = 100.0
    prior: bool = False


SMALL = NetworkConfig(
    image_widths=(16, 16, 32, 64, 128),
    lidar_widths=(8, 8, 16, 32, 64),
    decoder_widths=(8, 16, 32, 48, 64),
    blocks=1,
)


class DisparityHead(nn.Module):
    """Turns a decoder's logits into disparity: 1/max + (1/min - 1/max) sigmoid(x + START).

    The fill, the interpolated disparity of the same size, is not looked at.

    START puts an untrained answer 20 m away. From the middle of the range, 1 m, the first steps
    all push outwards, until the sigmoid is flat and short trainings never come back.
    """

    START = -4.0

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.nearest, self.farthest = 1 / config.min_depth, 1 / config.max_depth
        self.outputs = 1

    def forward(self, logits: Tensor, fill: Tensor) -> Tensor:
        return self.farthest + (self.nearest - self.farthest) * torch.sigmoid(logits + self.START)


class PriorHead(DisparityHead):
    """g fill exp(r) + (1 - g) free: zero residual and an open gate give the fill itself.

    The gate is closed where there is no fill, so the camera alone answers without a LiDAR.
    """

    GATE_BIAS = 5.0  # starts as the fill: sigmoid(5) = 0.99

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.outputs = 3

    def forward(self, logits: Tensor, fill: Tensor) -> Tensor:
        free, residual, gate = logits.chunk(3, dim=1)
        free = super().forward(free, fill)
        residual = MAX_RESIDUAL * torch.tanh(residual / MAX_RESIDUAL)
        gate = torch.sigmoid(gate + self.GATE_BIAS) * (fill > 0)
        disparity = gate * fill * torch.exp(residual) + (1 - gate) * free
        return disparity.clamp(self.farthest, self.nearest)


class DepthNetwork(nn.Module):
    """What the three have in common: features at five scales, decoder, head."""

    head: DisparityHead
    decoder: Decoder

    def features(self, image: Tensor, geometry: Tensor) -> list[Tensor]:
        """Feature maps at 1/2, 1/4, ... 1/32, as the decoder joins them."""
        raise NotImplementedError

    def forward(self, image: Tensor, geometry: Tensor) -> list[Tensor]:
        logits = self.decoder(self.features(image, geometry))
        fill = geometry[:, FILL : FILL + 1]
        # Nearest pixels, not means: an average over a depth edge is a depth that is nowhere.
        return [self.head(x, fill[:, :, :: 2**i, :: 2**i]) for i, x in enumerate(logits)]


class Monodepth2(DepthNetwork):
    """Camera only (Godard et al., ICCV 2019). The geometry input is not looked at."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.head = DisparityHead(config)
        self.image_stem = dense_stem(3, config.image_widths[0])
        self.image_stages = ResidualStages(config.image_widths, config.blocks, pool=True)
        self.decoder = Decoder(config.image_widths, config.decoder_widths, self.head.outputs)
        initialise(self)

    def features(self, image: Tensor, geometry: Tensor) -> list[Tensor]:
        return self.image_stages(self.image_stem(image))


class Monodepth2Lidar(DepthNetwork):
    """Monodepth2-L of LiDARTouch: one encoder for each sensor, concatenated at all five scales.

    The LiDAR encoder sees the inverse depth of the returns; with ``prior`` all of the geometry.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.head = PriorHead(config) if config.prior else DisparityHead(config)
        self.lidar_channels = 4 if config.prior else 1
        self.image_stem = dense_stem(3, config.image_widths[0])
        self.image_stages = ResidualStages(config.image_widths, config.blocks, pool=True)
        self.lidar_stem = sparse_stem(self.lidar_channels, config.lidar_widths[0])
        self.lidar_stages = ResidualStages(config.lidar_widths, config.blocks, pool=False)
        skips = [a + b for a, b in zip(config.image_widths, config.lidar_widths)]
        self.decoder = Decoder(skips, config.decoder_widths, self.head.outputs)
        initialise(self)
        _start_from_prior(self.decoder, config)

    def features(self, image: Tensor, geometry: Tensor) -> list[Tensor]:
        camera = self.image_stages(self.image_stem(image))
        lidar = self.lidar_stages(self.lidar_stem(geometry[:, : self.lidar_channels]))
        return [torch.cat(pair, dim=1) for pair in zip(camera, lidar)]


class SparseToDense(DepthNetwork):
    """The completion network of Ma et al. (ICRA 2019): stems joined early, one encoder.

    Adapted: inverse depth in and out, heads at four scales, and the decoder of Monodepth2 instead
    of transposed convolutions, which leave a checkerboard at small widths.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.head = PriorHead(config) if config.prior else DisparityHead(config)
        self.lidar_channels = 4 if config.prior else 1
        widths = list(config.image_widths)
        lidar = widths[0] // 4  # a quarter of the stem for the depth, as Ma et al.: 16 of 64
        self.image_stem = dense_stem(3, widths[0] - lidar)
        self.lidar_stem = sparse_stem(self.lidar_channels, lidar)
        self.stages = ResidualStages(widths, config.blocks, pool=False)
        self.decoder = Decoder(widths, config.decoder_widths, self.head.outputs)
        initialise(self)
        _start_from_prior(self.decoder, config)

    def features(self, image: Tensor, geometry: Tensor) -> list[Tensor]:
        lidar = self.lidar_stem(geometry[:, : self.lidar_channels])
        return self.stages(torch.cat([self.image_stem(image), lidar], dim=1))


def build(config: NetworkConfig) -> DepthNetwork:
    """The network that ``config.architecture`` names, with fresh weights."""
    networks: dict[str, type[Monodepth2 | Monodepth2Lidar | SparseToDense]] = {
        "monodepth2": Monodepth2,
        "monodepth2_lidar": Monodepth2Lidar,
        "sparse_to_dense": SparseToDense,
    }
    return networks[config.architecture](config)


def _start_from_prior(decoder: Decoder, config: NetworkConfig) -> None:
    """Small heads, so that training starts at the fill."""
    if config.prior:
        for head in decoder.heads:
            nn.init.normal_(head.weight, std=1e-3)
