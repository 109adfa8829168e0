"""Groups that torch-pruning cannot map onto the layers are left alone, and named."""

from __future__ import annotations

import pytest
import torch
from networks import RESHAPES, Between, copied, image, make

from ros_xai.compression import red


@pytest.mark.parametrize("name", RESHAPES)
def test_channels_that_become_fewer_are_left_alone_with_the_reason(name):
    function, channels = RESHAPES[name]
    network, x = copied(make(lambda: Between(function, channels))), image(Between)
    pruned = red(network, x, alpha=0.1)
    assert pruned.report.left_alone["one"] == "two: channels are not whole"
    assert pruned.classes["two"] < 8
    with torch.no_grad():
        assert pruned(x).shape == network(x).shape
