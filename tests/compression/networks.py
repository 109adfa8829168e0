"""Networks of every kind of dependency, and ordinary architectures without downloads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Chain(nn.Module):
    """Padding, asymmetric stride, batch norms, a linear layer after flatten."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=(1, 2), padding=(2, 1)), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 12, (3, 1), stride=(2, 1), bias=False), nn.BatchNorm2d(12), nn.ELU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(12 * 5 * 6, 10), nn.ReLU(), nn.Linear(10, 4))

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


class Block(nn.Module):
    """A residual block: one activation, used twice, and a projection where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.relu = nn.ReLU()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs),
            self.relu, nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """He et al., CVPR 2016, at small widths: stem, blocks of two stages, pooled classifier."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, width, 1), Block(width, 2 * width, 2)
        )
        self.fc = nn.Linear(2 * width, 5)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class Dense(nn.Module):
    """Concatenations, one of them read with reflected borders, and a transposed size."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 10, 3, padding=1)
        self.three = nn.Conv2d(16, 8, 3, padding=1, padding_mode="reflect")
        self.out = nn.Conv2d(14, 2, 1)

    def forward(self, x):
        a = F.relu(self.one(x))
        b = F.elu(self.two(a))
        c = torch.tanh(self.three(torch.cat([a, b], 1)))
        return self.out(torch.cat([F.interpolate(c, scale_factor=2.0), F.avg_pool2d(
            F.interpolate(a, scale_factor=4.0), 2)], 1))  # fmt: skip


class SqueezeExcite(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.reduce, self.expand = (
            nn.Conv2d(channels, squeezed, 1),
            nn.Conv2d(squeezed, channels, 1),
        )

    def forward(self, x):
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class InvertedResidual(nn.Module):
    """MobileNetV2's and EfficientNet's block: expand, depthwise, squeeze and excite, project."""

    def __init__(self, inputs, outputs, stride, expand=3, kernel=3, excite=False):
        super().__init__()
        hidden = inputs * expand
        self.body = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden), nn.SiLU(),
            SqueezeExcite(hidden, 4) if excite else nn.Identity(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.skip else self.body(x)


class MobileNet(nn.Module):
    def __init__(self, excite=False):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.blocks = nn.Sequential(
            InvertedResidual(8, 8, 1, excite=excite),
            InvertedResidual(8, 12, 2, kernel=5, excite=excite),
            InvertedResidual(12, 12, 1, excite=excite),
        )
        self.head = nn.Sequential(
            nn.Conv2d(12, 20, 1, bias=False), nn.BatchNorm2d(20), nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 5),
        )  # fmt: skip

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class EfficientNet(MobileNet):
    def __init__(self):
        super().__init__(excite=True)


class Grouped(nn.Module):
    """A grouped convolution between plain ones, as in ResNeXt."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.out = nn.Conv2d(12, 3, 1)

    def forward(self, x):
        return self.out(F.relu(self.grouped(F.relu(self.one(x)))))


class Mixing(nn.Module):
    """A softmax over channels: equal channels cannot be merged before it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 1)
        self.out = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        return self.out(self.two(F.relu(self.one(x))).softmax(1))


# What is no layer and moves or mixes 16 channels, some of them by whole pairs of neighbours.
MIXES = {
    "roll": lambda x: x.roll(2, 1),
    "echo": lambda x: x + x.roll(4, 1),
    "swapped halves": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "sliced halves": lambda x: torch.cat([x[:, 8:], x[:, :8]], 1),
    "shuffle": lambda x: x.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2),
    "shuffle of pairs": lambda x: x.unflatten(1, (2, 4, 2)).transpose(1, 2).flatten(1, 3),
    "index": lambda x: x[:, [*range(8, 16), *range(8)]],
    "gain": lambda x: x * x.mean(1, keepdim=True),
}
# What makes fewer channels of 16, and how many.
RESHAPES = {
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), 4),
    "gated": (lambda x: F.glu(x, 1), 8),
    "larger half": (lambda x: torch.maximum(*x.chunk(2, 1)), 8),
}


class Between(nn.Module):
    """Two convolutions with a function of the first one's channels between them."""

    def __init__(self, function, channels=16):
        super().__init__()
        self.function = function
        self.one, self.two = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(channels, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.out(F.relu(self.two(self.function(F.relu(self.one(x))))))


@torch.no_grad()
def copied(network):
    """With five of the sixteen channels that `one` makes copies of others."""
    for a, b in ((5, 0), (7, 2), (6, 1), (13, 8), (15, 10)):
        network.one.weight[a], network.one.bias[a] = network.one.weight[b], network.one.bias[b]
    return network


class PreActivation(nn.Module):
    """Batch norms before the convolutions: they cannot be folded, and stay right."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm, self.conv = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.out(x + self.conv(F.relu(self.norm(x))))


ARCHITECTURES = (Chain, ResNet, Dense, MobileNet, EfficientNet, Grouped, Mixing, PreActivation)


def make(kind, seed=0):
    """With batch norms as after training: statistics, gains and shifts of every size."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = kind()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.3, 2.0), (module.bias, -0.5, 0.5),
                (module.running_mean, -1.0, 1.0), (module.running_var, 0.2, 3.0),
            ):  # fmt: skip
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval()


def image(kind, seed=1):
    size = (9, 12) if kind is Chain else (32, 32)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))
