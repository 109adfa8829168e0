"""Merging: exact on hashed networks of every kind, finds what was planted and nothing else."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from networks import ARCHITECTURES, Chain, Dense, Grouped, Mixing, MobileNet, ResNet, image, make
from torch import nn
from torch.utils._pytree import tree_leaves

from ros_xai.compression import (
    fold_batch_norm,
    hashed_network,
    l1_pruning,
    output_error,
    random_merging,
    red,
)
from ros_xai.compression.groups import channel_groups
from ros_xai.compression.merging import alpha_at, row_tensors, similar
from ros_xai.depth.deployed import Finest
from ros_xai.depth.estimator import load_network
from ros_xai.segmentation.network import SegmentationNetwork

MERGEABLE = [kind for kind in ARCHITECTURES if kind is not Mixing]


def plant(network, x, share=0.5, seed=0):
    """A folded copy in which channels of every group are copies of others; how many, by group."""
    folded = fold_batch_norm(network)
    rng = np.random.default_rng(seed)
    planted = {}
    for group in channel_groups(folded, x):
        if group.fixed:
            continue
        blocks = group.blocks.numpy()
        copies = 0
        for block in np.unique(blocks):
            channels = rng.permutation(np.flatnonzero(blocks == block))
            half = int(share * len(channels)) // 2
            for a, b in zip(channels[:half], channels[half : 2 * half]):
                for member in group.producers:
                    for tensor in row_tensors(member.layer):
                        tensor.data[member.places[a]] = tensor.data[member.places[b]].clone()
            copies += half
        planted[group.name] = group.size - copies
    return folded, planted


@torch.no_grad()
def relative(f, g, *inputs):
    """Largest difference of any output, relative to the largest output."""
    largest = max(float(y.abs().max()) for y in tree_leaves(f(*inputs)))
    return output_error(f, g, [inputs]).maximum / largest


@pytest.mark.parametrize("kind", MERGEABLE)
def test_planted_duplicates_go_and_nothing_else(kind):
    x = image(kind)
    network, planted = plant(make(kind), x)
    pruned = red(network, x)
    assert sum(planted.values()) < sum(g.size for g in channel_groups(network, x) if not g.fixed)
    assert pruned.classes == planted
    assert relative(hashed_network(network), pruned, x) < 1e-5
    assert pruned.report.parameters < pruned.report.parameters_before
    assert sum(p.numel() for p in pruned.parameters()) == pruned.report.parameters


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_network_without_duplicates_is_left_alone(kind):
    network, x = make(kind), image(kind)
    pruned = red(network, x)
    for (name, a), (_, b) in zip(
        hashed_network(network).state_dict().items(), pruned.module.state_dict().items()
    ):
        assert torch.equal(a, b), name
    assert pruned.report.parameters == pruned.report.parameters_before


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("linkage", ["connected", "complete"])
def test_alpha_removes_channels_and_the_network_still_runs(kind, linkage):
    network, x = make(kind), image(kind)
    before = network.state_dict()
    kept = copy.deepcopy(before)
    sizes = [red(network, x, a, linkage=linkage).report.parameters for a in (0.0, 0.1, 0.4)]
    assert sizes[0] > sizes[1] >= sizes[2]
    with torch.no_grad():
        assert red(network, x, 1.0)(x).shape == network(x).shape
    assert all(torch.equal(before[name], kept[name]) for name in kept)


def test_the_mean_row_and_the_summed_columns():
    """Two channels by hand: rows 1 and 3 become 2, columns 5 and 7 become 12."""
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 1, 1)).eval()
    network[0].weight.data = torch.tensor([1.0, 3.0, 50.0]).reshape(3, 1, 1, 1)
    network[0].bias.data = torch.tensor([10.0, 12.0, 0.0])
    network[2].weight.data = torch.tensor([5.0, 7.0, 11.0]).reshape(1, 3, 1, 1)
    network[2].bias.data.fill_(0.5)
    pruned = red(network, torch.ones(1, 1, 2, 2), alpha=0.34)  # one of three pairs
    first, second = pruned.module[0], pruned.module[2]
    assert first.weight.flatten().tolist() == [2.0, 50.0]
    assert first.bias.tolist() == [11.0, 0.0]
    assert second.weight.flatten().tolist() == [12.0, 11.0]
    with torch.no_grad():
        assert pruned(torch.ones(1, 1, 2, 2)).unique().item() == 12 * 13 + 11 * 50 + 0.5


def test_rows_that_differ_in_the_bias_alone_are_not_the_same():
    network = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    network[0].weight.data[1] = network[0].weight.data[0]
    network[0].bias.data = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert red(network, torch.ones(1, 2, 3, 3)).classes == {"0": 4}


def test_tied_layers_must_agree_all():
    """Equal channels of one branch of an addition stay, as long as the other branch differs."""
    network, x = fold_batch_norm(make(ResNet)), image(ResNet)
    projection = network.blocks[2].shortcut[0]
    projection.weight.data[1] = projection.weight.data[0]
    projection.bias.data[1] = projection.bias.data[0]
    pruned = red(network, x)
    assert pruned.report.parameters == pruned.report.parameters_before


def test_equal_rows_in_different_groups_of_a_convolution_read_different_inputs():
    network, x = make(Grouped), image(Grouped)
    with torch.no_grad():
        network.grouped.weight[6:] = network.grouped.weight[:6]
        network.grouped.bias[6:] = network.grouped.bias[:6]
    pruned = red(network, x)
    assert pruned.report.parameters == pruned.report.parameters_before


def test_groups_lose_as_many_channels_each():
    network, x = make(Grouped), image(Grouped)
    with torch.no_grad():
        for a, b in ((1, 0), (2, 0), (7, 6)):  # two copies in the first group, one in the second
            network.grouped.weight[a] = network.grouped.weight[b]
            network.grouped.bias[a] = network.grouped.bias[b]
    pruned = red(network, x)
    assert pruned.module.grouped.out_channels == 10
    assert relative(hashed_network(network), pruned, x) < 1e-5


def test_a_depthwise_kernel_belongs_to_its_channel():
    network, x = fold_batch_norm(make(MobileNet)), image(MobileNet)
    expand = network.blocks[0].body[0]
    expand.weight.data[1], expand.bias.data[1] = expand.weight.data[0], expand.bias.data[0]
    pruned = red(network, x)  # the depthwise kernels still differ
    assert pruned.report.parameters == pruned.report.parameters_before


@pytest.mark.parametrize(
    ("strategy", "shares"),
    [("constant", (0.2, 0.2, 0.2)), ("increasing", (0.0, 0.2, 0.4)),
     ("decreasing", (0.4, 0.2, 0.0)), ("blocks", (0.1, 0.2, 0.3))],
)  # fmt: skip
def test_strategies_spread_alpha_over_depth(strategy, shares):
    assert [alpha_at(d, 0.2, strategy) for d in (0.0, 0.5, 1.0)] == pytest.approx(shares)
    assert np.mean([alpha_at(d, 0.2, strategy) for d in (np.arange(999) + 0.5) / 999]) == (
        pytest.approx(0.2, abs=1e-3)
    )


@pytest.mark.parametrize(("alpha", "strategy"), [(-0.1, "constant"), (1.5, "constant"), (0.1, "x")])
def test_wrong_arguments_are_refused(alpha, strategy):
    with pytest.raises(ValueError, match="expected"):
        red(make(Chain), image(Chain), alpha, strategy)


@pytest.mark.parametrize("linkage", ["connected", "complete"])
@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.4])
def test_as_many_channels_stay_as_fill_a_register(linkage, alpha):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 37, 3), nn.ReLU(), nn.Conv2d(37, 5, 1)).eval()
    group = channel_groups(network, torch.rand(1, 3, 8, 8))[0]
    plain = similar(group, alpha, linkage)
    kept = similar(group, alpha, linkage, multiple=8)
    assert plain.max() + 1 < 37
    assert kept.max() + 1 == min(37, 8 * math.ceil((plain.max() + 1) / 8))
    # The merges that are left are among those that alpha allows.
    assert all(len(set(plain[kept == label])) == 1 for label in set(kept))
    pruned = red(network, torch.rand(1, 3, 8, 8), alpha, linkage=linkage, multiple=8)
    assert pruned.classes["0"] % 8 == 0 or pruned.classes["0"] == 37


def test_a_multiple_below_one_is_refused():
    with pytest.raises(ValueError, match="expected 1 or more channels"):
        red(make(Chain), image(Chain), 0.1, multiple=0)


def test_the_closest_pairs_are_merged_first():
    network, x = make(Dense), image(Dense)
    with torch.no_grad():
        network.two.weight[4] = network.two.weight[7] + 1e-3
        network.two.bias[4] = network.two.bias[7]
    group = next(g for g in channel_groups(network, x) if g.name == "two")
    labels = similar(group, 1 / 45)  # one of 45 pairs
    assert labels.max() == 8
    assert labels[4] == labels[7]


def test_complete_linkage_does_not_chain():
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()
    network[0].weight.data = torch.tensor([1.0, 2.0, 3.0, 9.0]).reshape(4, 1, 1, 1)
    network[0].bias.data.zero_()
    group = channel_groups(network, torch.ones(1, 1, 2, 2))[0]
    assert len(set(similar(group, 2 / 6).tolist())) == 2  # 1-2-3 in a chain, and 9
    assert len(set(similar(group, 2 / 6, "complete").tolist())) == 3


@pytest.mark.parametrize("kind", MERGEABLE)
def test_baselines_have_as_many_parameters(kind):
    network, x = make(kind), image(kind)
    pruned = red(network, x, alpha=0.2)
    for other in (l1_pruning(network, x, pruned), random_merging(network, x, pruned, seed=3)):
        assert other.report.parameters == pruned.report.parameters
        assert other.report.macs == pruned.report.macs
        assert other.classes == pruned.classes
    same = random_merging(network, x, pruned, seed=3)
    assert output_error(same, random_merging(network, x, pruned, seed=3), [x]).maximum == 0


def test_l1_keeps_the_largest_rows():
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 1, 1)).eval()
    network[0].weight.data = torch.tensor([1.0, 1.5, 50.0]).reshape(3, 1, 1, 1)
    network[0].bias.data.zero_()
    x = torch.ones(1, 1, 2, 2)
    like = red(network, x, alpha=0.34)
    kept = l1_pruning(network, x, like).module[0].weight.flatten()
    assert kept.tolist() == pytest.approx([1.5, 50.0])


def depth():
    size = (1, 3, 64, 96), (1, 4, 64, 96)
    generator = torch.Generator().manual_seed(0)
    return Finest(load_network()), tuple(torch.rand(s, generator=generator) for s in size)


def segmentation():
    torch.manual_seed(0)
    return SegmentationNetwork().eval(), (torch.rand(1, 3, 48, 64),)


@pytest.mark.parametrize("build", [depth, segmentation])
def test_the_projects_networks(build):
    """Planted duplicates in the trained depth network and in a segmenter go, exactly."""
    network, x = build()
    planted, sizes = plant(network, x, share=0.25)
    pruned = red(planted, x)
    assert pruned.classes == sizes
    assert relative(hashed_network(planted), pruned, *x) < 1e-5
    untouched = red(network, x)
    assert untouched.report.parameters == untouched.report.parameters_before
    assert output_error(network, untouched, [x]).relative < 0.02


def test_the_forecasting_network():
    from ros_xai.forecasting.network import Batch, Network, NetworkConfig

    class Forecast(nn.Module):
        """The prior and all modes, from the arrays of a batch."""

        def __init__(self):
            super().__init__()
            self.network = Network(NetworkConfig())

        def forward(self, history, neighbours, kind, crop):
            batch = Batch(history, neighbours, kind, crop)
            code = self.network.encode(batch)
            modes = self.network.decode(code, batch)
            return self.network.prior_logits(code), modes.mean

    torch.manual_seed(0)
    network = Forecast().eval()
    rows, columns = network.network.config.context.crop.shape
    x = (
        torch.randn(2, 5, 8), torch.randn(2, 3, 5, 8), torch.ones(2, 3, dtype=torch.long),
        torch.randint(0, 255, (2, 3, rows, columns), dtype=torch.uint8),
    )  # fmt: skip
    planted, sizes = plant(network, x)
    assert {"network.map.convolutions.0", "network.map.convolutions.4"} <= set(sizes)
    pruned = red(planted, x)
    shrunk = {name for name, size in sizes.items() if pruned.classes.get(name) == size}
    assert {"network.map.convolutions.0", "network.map.convolutions.4"} <= shrunk
    assert relative(hashed_network(planted), pruned, *x) < 1e-5
