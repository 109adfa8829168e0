"""Groups of channels: by what they are compared, and which are left alone with the reason."""

from __future__ import annotations

import pytest
import torch
from networks import RESHAPES, Between, copied, image, make
from torch import nn

from ros_xai.compression import red
from ros_xai.compression.groups import ChannelGroup, Member
from ros_xai.compression.merging import rows


@pytest.mark.parametrize("name", RESHAPES)
def test_channels_that_become_fewer_are_left_alone_with_the_reason(name):
    function, channels = RESHAPES[name]
    network, x = copied(make(lambda: Between(function, channels))), image(Between)
    pruned = red(network, x, alpha=0.1)
    assert pruned.report.left_alone["one"] == "two: channels are not whole"
    assert pruned.classes["two"] < 8
    with torch.no_grad():
        assert pruned(x).shape == network(x).shape


def test_no_layer_outweighs_another_when_channels_are_compared():
    """Of two tied layers of other sizes, weights and biases have rows of norm 1 each."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.Conv2d(5, 8, 1)
    with torch.no_grad():
        layers[0].weight.mul_(50)
        layers[1].bias.zero_()
    places = torch.arange(8)[:, None]
    group = ChannelGroup(8, [Member(str(n), layer, places) for n, layer in enumerate(layers)])
    parts = rows(group).split([27, 1, 5, 1], dim=1)
    norms = [part.square().sum(1).mean().item() for part in parts]
    assert norms == pytest.approx([1, 1, 1, 0])
    # In proportion: the first layer's differences are those of its weights.
    weights = layers[0].weight.detach().double().flatten(1)
    torch.testing.assert_close(parts[0] / parts[0][0, 0], weights / weights[0, 0])
