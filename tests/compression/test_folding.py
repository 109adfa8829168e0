"""Folding: the same function, no batch norm left where one can be folded."""

from __future__ import annotations

import pytest
import torch
from networks import ARCHITECTURES, PreActivation, image, make
from torch import nn

from ros_xai.compression import fold_batch_norm, hashed_network, red
from ros_xai.compression.splitting import splittable
from ros_xai.depth.deployed import Finest
from ros_xai.depth.estimator import load_network
from ros_xai.segmentation.network import SegmentationNetwork


def norms(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]


@torch.no_grad()
def relative(a, b):
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_function_stays(kind):
    network, x = make(kind), image(kind)
    folded = fold_batch_norm(network)
    with torch.no_grad():
        assert relative(network(x), folded(x)) < 1e-4
    assert len(norms(folded)) == (1 if kind is PreActivation else 0)
    assert len(norms(make(kind))) == len(norms(network))  # the original is left alone


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), (3, 5)),
        (nn.Linear(5, 6), nn.BatchNorm1d(6, affine=False), (3, 5)),
        (nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), (2, 4, 9)),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), nn.BatchNorm2d(8, affine=False), (2, 4, 6, 6)),
        (nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), (1, 2, 5, 5, 5)),
    ],
)
def test_every_kind_of_layer(layer, norm, shape):
    torch.manual_seed(0)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.1, 2)
    network = nn.Sequential(layer, norm, nn.ReLU()).eval()
    x = torch.randn(shape)
    folded = fold_batch_norm(network, x)
    with torch.no_grad():
        assert torch.allclose(network(x), folded(x), rtol=1e-4, atol=1e-5)
    assert isinstance(folded[1], nn.Identity)


def unfolded(network, x, example=None):
    """Statistics as after training; the norms that are left, and the largest difference."""
    generator = torch.Generator().manual_seed(0)
    for norm in norms(network.eval()):
        norm.running_mean.uniform_(-1, 1, generator=generator)
        norm.running_var.uniform_(0.1, 2, generator=generator)
    folded = fold_batch_norm(network, example)
    with torch.no_grad():
        return len(norms(folded)), float((network(x) - folded(x)).abs().max())


@pytest.mark.parametrize("features", [8, 9])
def test_axis_1_of_a_sequence_is_not_a_linear_layers_features(features):
    """As many steps as features, or not: the norm is of the steps."""
    network, x = nn.Sequential(nn.Linear(6, features), nn.BatchNorm1d(8)), torch.rand(2, 8, 6)
    assert unfolded(network, x, example=x) == (1, 0)
    assert unfolded(network, x) == (1, 0)


def test_a_linear_layers_norm_stays_where_nothing_tells_its_shape():
    network, x = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8)), torch.rand(2, 6)
    assert unfolded(network, x) == (1, 0)


def test_the_axis_of_a_convolution_without_batch():
    network, x = nn.Sequential(nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4)), torch.rand(2, 4)
    assert unfolded(network, x, example=x) == (1, 0)


class Tied(nn.Module):
    """Two layers of one weight; the norm is between them."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.norm(self.one(x)))


class Transposed(Tied):
    """An autoencoder that decodes by its encoder's weight."""

    def forward(self, x):
        return nn.functional.conv_transpose2d(self.norm(self.one(x)), self.one.weight)


@pytest.mark.parametrize("kind", [Tied, Transposed])
def test_a_layer_whose_weight_has_another_use_is_not_folded(kind):
    assert unfolded(kind(), torch.rand(1, 3, 4, 4)) == (1, 0)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal"])
def test_a_computed_weight_is_made_a_plain_one_and_folded(name):
    torch.manual_seed(0)
    layer = getattr(nn.utils.parametrizations, name)(nn.Conv2d(3, 4, 1))
    left, difference = unfolded(nn.Sequential(layer, nn.BatchNorm2d(4)), torch.rand(1, 3, 4, 4))
    assert left == 0 and difference < 1e-6
    assert nn.utils.parametrize.is_parametrized(layer)  # the original is left alone


def test_equal_channels_of_computed_weights_are_found():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3)
    with torch.no_grad():
        first.weight[4:], first.bias[4:] = first.weight[:4], first.bias[:4]
    normed = nn.utils.parametrizations.weight_norm(first)
    network, x = nn.Sequential(normed, nn.ReLU(), nn.Conv2d(8, 4, 3)).eval(), torch.rand(1, 3, 9, 9)
    pruned = red(network, x)
    assert pruned.classes == {"0": 4}
    assert relative(hashed_network(network)(x), pruned(x)) < 1e-5
    assert pruned.report.layers[0].distinct == len(pruned.module[0].weight.unique())


class Standardised(nn.Conv2d):
    """Weight standardisation: what is applied is not the weight."""

    def forward(self, x):
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return nn.functional.conv2d(x, weight, self.bias)


class Same(nn.Conv2d):
    """Padding of its own, then the convolution."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.static_padding = nn.ZeroPad2d((0, 1, 0, 1))

    def forward(self, x):
        return nn.functional.conv2d(self.static_padding(x), self.weight, self.bias)


@pytest.mark.parametrize(("kind", "left"), [(Standardised, 1), (Same, 0)])
def test_a_layer_that_does_something_else_with_its_weight_is_neither_folded_nor_split(kind, left):
    torch.manual_seed(0)
    layer = kind(3, 4, 2)
    norms_left, difference = unfolded(
        nn.Sequential(layer, nn.BatchNorm2d(4)), torch.rand(1, 3, 5, 5)
    )
    assert norms_left == left and difference < 1e-6
    assert splittable(layer) == (left == 0)


def test_arguments_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(input=self.conv(input=x))

    left, error = unfolded(Named(), torch.rand(1, 3, 4, 4))
    assert left == 0
    assert error < 1e-5


def test_a_layer_that_something_else_reads_is_not_folded():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y)

    network = Both().eval()
    network.norm.running_mean.uniform_(-1, 1)
    x = torch.randn(1, 3, 4, 4)
    folded = fold_batch_norm(network)
    assert len(norms(folded)) == 1
    assert torch.equal(network(x), folded(x))


def test_a_shared_layer_is_not_folded():
    conv = nn.Conv2d(3, 3, 1)
    network = nn.Sequential(conv, nn.BatchNorm2d(3), conv, nn.BatchNorm2d(3)).eval()
    network[1].running_mean.fill_(0.5)
    x = torch.randn(1, 3, 4, 4)
    assert torch.allclose(network(x), fold_batch_norm(network)(x), atol=1e-6)


def test_trained_depth_and_the_segmenter_whose_sizes_are_not_symbols():
    torch.manual_seed(0)
    depth = Finest(load_network())
    x = (torch.rand(1, 3, 64, 96), torch.rand(1, 4, 64, 96))
    with torch.no_grad():
        assert relative(depth(*x)[0], fold_batch_norm(depth)(*x)[0]) < 1e-4
    segmenter = SegmentationNetwork().eval()
    folded = fold_batch_norm(segmenter)
    with torch.no_grad():
        assert relative(segmenter(x[0]), folded(x[0])) < 1e-4
    assert not norms(folded)
