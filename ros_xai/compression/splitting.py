"""Uneven depthwise separation (RED, section 3.3) and input splitting (RED++, arXiv 2110.01397).

In a hashed convolution the kernels of an input channel j take only u_j distinct values, so u_j
depthwise responses serve all outputs: y_i = sum_j D[j, idx(i, j)] + b_i. Multiplications per
output position fall from n_out n_in k^2 to sum_j u_j k^2; the additions stay. The function is the
same up to the order of float additions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.compression.folding import CONVOLUTIONS, is_plain

Form = Literal["pointwise", "gather"]
_ROUNDS = 7  # of the trial that compares forms
_HOPELESS = 3.0  # times as slow as the original in a first call: not tried again
_MOST_VALUES = 1 << 24  # floats that the gather form may hold at once


def distinct_kernels(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kernels [U, *k] of all input channels, the channel [U] of each, and indices [out, in] into
    them, of weights [out, in, *k]."""
    kernels, channels, index = [], [], []
    used = 0
    for j in range(weight.shape[1]):
        distinct, where = torch.unique(weight[:, j], dim=0, return_inverse=True)
        kernels.append(distinct)
        channels.append(torch.full((len(distinct),), j))
        index.append(where + used)
        used += len(distinct)
    return torch.cat(kernels), torch.cat(channels), torch.stack(index, dim=1)


def split_multiplications(layer: nn.Module) -> int:
    """sum_j u_j k^2: multiplications per output position after splitting.

    Of a linear layer, sum over rows or over columns of the distinct values, whichever is less.
    """
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return min(
            sum(len(line.unique()) for line in weight),
            sum(len(line.unique()) for line in weight.T),
        )
    groups = getattr(layer, "groups", 1)
    total = 0
    for block in weight.reshape(groups, -1, *weight.shape[1:]):
        total += sum(torch.unique(block[:, j], dim=0).numel() for j in range(block.shape[1]))
    return total


class SplitConv2d(nn.Module):
    """A plain convolution with its distinct kernels applied once per input channel.

    ``form``: "pointwise" adds the responses by a 1x1 convolution of zeros and ones, and exports to
    ONNX as ordinary convolutions; "gather" picks and adds them.
    """

    def __init__(self, conv: nn.Conv2d, form: Form = "pointwise") -> None:
        super().__init__()
        if conv.groups != 1 or isinstance(conv.padding, str):
            raise ValueError(
                f"expected a convolution of one group and padding in pixels; got {conv}"
            )
        kernels, channels, index = distinct_kernels(conv.weight.detach())
        self.form, self.stride, self.dilation = form, conv.stride, conv.dilation
        self.padding, self.padding_mode = conv.padding, conv.padding_mode
        self.before = getattr(conv, "static_padding", None)  # of TensorFlow's "same"
        self.kernels = nn.Parameter(kernels[:, None], requires_grad=False)  # [U, 1, k, k]
        self.register_buffer("channels", channels)
        self.register_buffer("index", index)
        self.bias = conv.bias
        adds = torch.zeros(conv.out_channels, len(kernels))
        adds[torch.arange(conv.out_channels)[:, None], index] = 1
        self.register_buffer("adds", adds[:, :, None, None].to(kernels.dtype))

    @property
    def multiplications(self) -> int:
        """Per output position: one for every weight of a distinct kernel."""
        return self.kernels.numel()

    def responses(self, x: Tensor) -> Tensor:
        """[B, U, h, w]: every distinct kernel on its channel of x."""
        if self.before is not None:
            x = self.before(x)
        padding = self.padding
        if self.padding_mode != "zeros":
            y, x_ = padding
            x, padding = F.pad(x, (x_, x_, y, y), mode=self.padding_mode), (0, 0)
        repeated = x[:, self.channels]
        return F.conv2d(
            repeated, self.kernels, None, self.stride, padding, self.dilation, len(self.kernels)
        )

    def forward(self, x: Tensor) -> Tensor:
        responses = self.responses(x)
        if self.form == "pointwise":
            return F.conv2d(responses, self.adds, self.bias)
        y = responses[:, self.index].sum(2)  # [B, out, in, h, w] added over in
        return y if self.bias is None else y + self.bias[:, None, None]


def splittable(layer: nn.Module) -> bool:
    """A plain 2D convolution of one group."""
    return (
        isinstance(layer, nn.Conv2d)
        and is_plain(layer)
        and layer.groups == 1
        and not isinstance(layer.padding, str)
    )


def fastest(conv: nn.Conv2d, x: Tensor) -> tuple[nn.Module, dict[str, float]]:
    """The convolution or one of its split forms, by median milliseconds on ``x``, with the times.

    A form must be faster than the original in the median of paired runs. The gather form is not
    tried where its responses would not fit into memory.
    """
    forms: dict[str, nn.Module] = {"original": conv}
    if split_multiplications(conv) < conv.weight.numel():
        forms["pointwise"] = SplitConv2d(conv, "pointwise")
        with torch.no_grad():
            positions = conv(x)[0, 0].numel()
        if len(x) * conv.out_channels * conv.in_channels * positions <= _MOST_VALUES:
            forms["gather"] = SplitConv2d(conv, "gather")
    first = [each[0] for each in paired_times(list(forms.values()), x, 1)]
    tried = {name: ms for name, ms in zip(forms, first) if ms > _HOPELESS * first[0]}
    forms = {name: form for name, form in forms.items() if name not in tried}
    times = paired_times(list(forms.values()), x)
    medians = {name: statistics.median(each) for name, each in zip(forms, times)}
    best = min(medians, key=lambda name: medians[name])
    if best != "original":
        pairs = zip(times[list(forms).index(best)], times[0])
        if statistics.median(mine / base for mine, base in pairs) >= 1:
            best = "original"
    return forms[best], {**medians, **tried}


def paired_times(
    modules: Sequence[nn.Module], x: Tensor, rounds: int = _ROUNDS
) -> list[list[float]]:
    """Milliseconds of each module on x, taking turns; the first turn is not counted."""
    times: list[list[float]] = [[] for _ in modules]
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for module, mine in zip(modules, times):
                begun = time.perf_counter()
                module(x)
                if turn:
                    mine.append((time.perf_counter() - begun) * 1e3)
    return times


def affine_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Convolutions and linear layers by name."""
    kinds = (*CONVOLUTIONS, nn.Linear)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
