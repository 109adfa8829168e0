"""Folding: the same function, no batch norm left where one can be folded."""

from __future__ import annotations

import pytest
import torch
from networks import ARCHITECTURES, PreActivation, image, make
from torch import nn

from ros_xai.compression import fold_batch_norm
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
    folded = fold_batch_norm(network)
    x = torch.randn(shape)
    with torch.no_grad():
        assert torch.allclose(network(x), folded(x), rtol=1e-4, atol=1e-5)
    assert isinstance(folded[1], nn.Identity)


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
