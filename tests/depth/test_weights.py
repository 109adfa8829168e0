"""Files of weights that are not a depth network's are refused by name."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file

from ros_xai.depth.estimator import SHIPPED, DepthEstimator, load_card


@pytest.fixture
def weights(tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(SHIPPED.with_suffix(suffix), tmp_path)
    return tmp_path / SHIPPED.name


def test_a_truncated_file(weights):
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"depth\.safetensors: expected weights of its card"):
        DepthEstimator.load(weights)


def test_weights_of_another_network(weights):
    tensors = load_file(weights)
    tensors.popitem()
    save_file(tensors, weights)
    with pytest.raises(ValueError, match="Missing key"):
        DepthEstimator.load(weights)


@pytest.mark.parametrize("card", ["{}", "[]", "not json"])
def test_a_card_of_something_else(weights, card):
    weights.with_suffix(".json").write_text(card)
    with pytest.raises(ValueError, match=r"depth\.json: expected the card of a depth network"):
        load_card(weights)
