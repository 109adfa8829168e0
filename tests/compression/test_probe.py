"""What does not commute with merging is left alone, and named."""

from __future__ import annotations

import pytest
import torch
from networks import MIXES, Between, Mixing, copied, image, make
from torch import nn

from ros_xai.compression import hashed_network, output_error, red
from ros_xai.compression.groups import channel_groups
from ros_xai.compression.probe import Probe


def test_channels_that_mix_are_left_alone_with_the_reason():
    x = image(Mixing)
    network = make(Mixing)
    with torch.no_grad():
        network.two.weight[1], network.two.bias[1] = network.two.weight[0], network.two.bias[0]
        network.one.weight[1], network.one.bias[1] = network.one.weight[0], network.one.bias[0]
    pruned = red(network, x)
    assert pruned.classes == {"one": 7}
    assert "changes the output" in pruned.report.left_alone["two"]
    assert output_error(hashed_network(network), pruned, [x]).relative < 1e-6


@pytest.mark.parametrize("name", MIXES)
def test_channels_that_are_moved_are_left_alone_with_the_reason(name):
    network, x = copied(make(lambda: Between(MIXES[name]))), image(Between)
    pruned = red(network, x)
    assert pruned.classes == {"two": 8}
    assert pruned.report.left_alone["one"]
    assert output_error(hashed_network(network), pruned, [x]).maximum == 0


def test_every_channel_as_it_is_may_be_merged():
    """The same network without a function between its layers: the copies go."""
    network, x = copied(make(lambda: Between(lambda x: x))), image(Between)
    pruned = red(network, x)
    assert pruned.classes == {"one": 11, "two": 8}
    assert output_error(hashed_network(network), pruned, [x]).relative < 1e-6


def moves(n):
    """Rolls, reversals, swaps of parts and shuffles of n channels."""
    order = torch.arange(n)
    found = [order.roll(by) for by in range(1, n)] + [order.flip(0)]
    for parts in (part for part in range(2, n) if n % part == 0):
        grid = order.reshape(parts, -1)
        found += [grid.T.flatten(), grid.flip(0).flatten(), grid.flip(1).flatten()]
    return found


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8, 9, 12, 16])
def test_every_common_move_of_few_channels_is_seen(n):
    """Each one that the probe's classes were carried over by would pass for no move at all."""
    torch.manual_seed(0)
    for order in moves(n):
        network = nn.Sequential(nn.Conv2d(2, n, 1), nn.ReLU(), Move(order), nn.Conv2d(n, 2, 1))
        torch.nn.init.uniform_(network[0].bias, 0.5, 1.0)
        inputs = (torch.rand(1, 2, 3, 3),)
        (group,) = (g for g in channel_groups(network.eval(), inputs) if g.name == "0")
        still = torch.equal(order, torch.arange(n))
        assert Probe(network, inputs).merges(group) == still, order


class Move(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x[:, self.order]
