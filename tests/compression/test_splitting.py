"""Input splitting: the same outputs, the multiplications of the distinct kernels."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import ARCHITECTURES, Chain, Dense, EfficientNet, MobileNet, ResNet, image, make
from torch import nn

from ros_xai.compression import hash_weights, hashed_network, output_error, red, red_pp
from ros_xai.compression import pruning as pruning_module
from ros_xai.compression.splitting import (
    SplitConv2d,
    distinct_kernels,
    fastest,
    split_multiplications,
)
from ros_xai.depth.estimator import load_network


def discrete(*arguments, levels=3, **options):
    """A convolution whose weights take a few values."""
    torch.manual_seed(0)
    conv = nn.Conv2d(*arguments, **options)
    conv.weight.data = (conv.weight.data.sign() * torch.randint(0, levels, conv.weight.shape)) / 4
    return conv


CONVOLUTIONS = [
    discrete(3, 16, 3, padding=1),
    discrete(4, 9, (3, 1), stride=(1, 2), padding=(2, 0)),
    discrete(5, 8, 1, bias=False),
    discrete(3, 7, 3, padding=1, padding_mode="reflect"),
    discrete(3, 7, 3, padding=2, dilation=2, stride=2),
]


@pytest.mark.parametrize("form", ["pointwise", "gather"])
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_the_same_outputs(conv, form):
    x = torch.randn(2, conv.in_channels, 11, 14, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(SplitConv2d(conv, form)(x), conv(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_multiplications_are_those_of_the_distinct_kernels(conv):
    weight = conv.weight.detach()
    counts = [
        len({tuple(kernel.flatten().tolist()) for kernel in weight[:, j]})
        for j in range(conv.in_channels)
    ]
    expected = sum(counts) * weight[0, 0].numel()
    assert split_multiplications(conv) == expected
    assert SplitConv2d(conv).multiplications == expected <= weight.numel()
    kernels, channels, index = distinct_kernels(weight)
    assert torch.equal(kernels[index], weight)
    assert torch.equal(channels[index], torch.arange(conv.in_channels).expand_as(index))


def test_linear_layers_count_the_better_direction():
    layer = nn.Linear(4, 2)
    layer.weight.data = torch.tensor([[1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, 4.0]])
    assert split_multiplications(layer) == 4  # two values a row; by columns it would be eight


@pytest.mark.parametrize("form", ["pointwise", "gather"])
def test_a_trained_hashed_layer(form):
    conv = copy.deepcopy(load_network().image_stages.stages[1][0].body[0])
    conv.weight.data = hash_weights(conv.weight, 3000.0).tensor
    x = torch.randn(1, conv.in_channels, 12, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = conv(x), SplitConv2d(conv, form)(x)
    assert float((a - b).abs().max()) <= 1e-5 * float(a.abs().max())


def test_a_grouped_convolution_is_refused():
    with pytest.raises(ValueError, match="one group"):
        SplitConv2d(nn.Conv2d(4, 4, 3, groups=2))


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("form", ["pointwise", "gather"])
def test_whole_networks_with_every_layer_split(kind, form, monkeypatch):
    """Whatever the clock says: each form is forced on every layer that has fewer kernels."""
    network, x = make(kind), image(kind)

    def forced(conv, x):
        return SplitConv2d(conv, form), {"original": 2.0, form: 1.0}

    monkeypatch.setattr(pruning_module, "fastest", forced)
    pruned = red_pp(network, x, error_budget=0.1)
    reference = hashed_network(network, error_budget=0.1)
    error = output_error(reference, pruned, [x])
    with torch.no_grad():
        assert error.maximum <= 1e-5 * float(reference(x).abs().max())
    assert any(layer.form == form for layer in pruned.report.layers)


@pytest.mark.parametrize("kind", [Chain, ResNet, Dense, MobileNet, EfficientNet])
def test_fewer_multiplications_than_red_at_the_same_outputs(kind):
    network, x = make(kind), image(kind)
    plain = red(network, x, error_budget=0.05)
    split = red_pp(network, x, error_budget=0.05)
    assert split.report.multiplications < plain.report.macs
    error = output_error(plain, split, [x])
    with torch.no_grad():
        assert error.maximum <= 1e-5 * float(plain(x).abs().max())


def test_the_fastest_form_is_the_one_that_was_fastest(monkeypatch):
    conv, x = CONVOLUTIONS[2], torch.randn(1, 5, 8, 8)
    times = {"original": [3.0] * 3, "pointwise": [2.0] * 3, "gather": [4.0] * 3}
    from ros_xai.compression import splitting

    monkeypatch.setattr(
        splitting, "paired_times", lambda modules, x, rounds=7: list(times.values())
    )
    best, medians = fastest(conv, x)
    assert isinstance(best, SplitConv2d) and best.form == "pointwise"
    assert medians == {"original": 3.0, "pointwise": 2.0, "gather": 4.0}
    times["pointwise"] = [5.0] * 3
    assert fastest(conv, x)[0] is conv
    # The lower median, but slower in most of the paired runs.
    times["original"], times["pointwise"] = [1.0, 2.0, 3.0], [1.9, 1.5, 3.1]
    assert fastest(conv, x)[0] is conv


def test_a_layer_without_equal_kernels_is_not_tried():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3)
    best, times = fastest(conv, torch.randn(1, 3, 8, 8))
    assert best is conv
    assert list(times) == ["original"]
