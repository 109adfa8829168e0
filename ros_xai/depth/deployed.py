"""A depth network as it is deployed: the finest disparity only, on an engine.

Full size is where a CPU loses its time: its two convolutions have too few channels to fill a vector
register. Both are rewritten at half size, where each pixel holds four times the channels, one set
for each of the 2x2 pixels ("phases") it stands for. The answers are the same.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.depth.inputs import FILL
from ros_xai.depth.network import DepthNetwork
from ros_xai.engines.base import Engine
from ros_xai.engines.compile import Signature, compile_network

SIGNATURE = Signature(inputs={"image": 3, "geometry": 4}, outputs={"disparity": 2})


class Finest(nn.Module):
    """image [B, 3, H, W], geometry [B, 4, H, W] -> (disparity [B, 1, H, W],)."""

    def __init__(self, network: DepthNetwork) -> None:
        super().__init__()
        self.network = network
        decoder = network.decoder
        self.merge = of_upsampled(decoder.merge[0])
        self.logits = of_phases(decoder.heads[0])

    def forward(self, image: Tensor, geometry: Tensor) -> tuple[Tensor]:
        features = self.network.features(image, geometry)
        decoder, x = self.network.decoder, features[-1]
        for i in reversed(range(1, len(decoder.merge))):
            x = decoder.widened(i, x, features)
        logits = self.logits(F.elu(self.merge(F.elu(decoder.reduce[0](x)))))
        fill = F.pixel_unshuffle(geometry[:, FILL : FILL + 1], 2)
        return (F.pixel_shuffle(self.network.head(logits, fill), 2),)


def of_upsampled(conv: nn.Conv2d) -> nn.Conv2d:
    """x -> pixel_unshuffle(conv(upsample(x))) for nearest-neighbour upsampling by 2, as one 3x3
    convolution [B, C, h, w] -> [B, 4 D, h, w]: a tap of the large image falls on a pixel of the
    small one. Reflected borders of the large are repeated ones of the small."""
    weight = conv.weight.new_zeros(conv.out_channels, 2, 2, conv.in_channels, 3, 3)
    for (row, a, dy), (column, b, dx) in _taps():
        weight[:, a, b, :, row, column] += conv.weight.detach()[:, :, dy, dx]
    return _convolution(weight.flatten(0, 2), conv)


def of_phases(conv: nn.Conv2d) -> nn.Conv2d:
    """pixel_unshuffle(x) -> pixel_unshuffle(conv(x)) as one 3x3 convolution
    [B, 4 C, h, w] -> [B, 4 D, h, w]."""
    weight = conv.weight.new_zeros(conv.out_channels, 2, 2, conv.in_channels, 2, 2, 3, 3)
    for (row, a, dy), (column, b, dx) in _taps():
        y, x = (a + dy - 1) % 2, (b + dx - 1) % 2
        weight[:, a, b, :, y, x, row, column] += conv.weight.detach()[:, :, dy, dx]
    return _convolution(weight.flatten(3, 5).flatten(0, 2), conv)


def _taps() -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Rows and columns of a 3x3 kernel: (tap of the small image, phase, tap of the large one)."""
    line = [(1 + (phase + tap - 1) // 2, phase, tap) for phase in (0, 1) for tap in (0, 1, 2)]
    return [(y, x) for y in line for x in line]


def _convolution(weight: Tensor, of: nn.Conv2d) -> nn.Conv2d:
    outputs, inputs = weight.shape[:2]
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")
    conv.weight = nn.Parameter(weight)
    assert of.bias is not None
    conv.bias = nn.Parameter(of.bias.detach().repeat_interleave(4))
    return conv.to(of.weight.device)


def make_engine(network: DepthNetwork, engine: str, threads: int = 0) -> Engine:
    """The network on the named engine, for sizes that 32 divides."""
    return compile_network(Finest(network), SIGNATURE, engine, threads)
