"""Shapes, size, growth of heads, and independence of the samples in evaluation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork, resize, with_heads

SMALL = NetworkConfig(classes=5, widths=(4, 8, 8, 8), blocks=1, decoder=8)


def network(config: NetworkConfig = SMALL) -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(config).eval()


def test_default_network_is_below_one_million_parameters():
    assert sum(p.numel() for p in SegmentationNetwork().parameters()) < 1_000_000


@settings(max_examples=15, deadline=None)
@given(st.integers(16, 70), st.integers(16, 70))
def test_any_size_from_16_pixels_keeps_its_size(height, width):
    with torch.no_grad():
        assert network()(torch.rand(1, 3, height, width)).shape == (1, 5, height, width)


def test_layers_have_their_strides_and_the_logits_are_the_classifier_of_the_embedding():
    net = network()
    with torch.no_grad():
        layers = net.layers(torch.rand(2, 3, 48, 64))
    strides = {name: 64 // value.shape[3] for name, value in layers.items()}
    expected = {"stage1": 4, "stage2": 8, "stage3": 16, "fused": 4, "embedding": 4, "logits": 4}
    assert strides == expected
    classifier = net.heads["main"].classifier
    expected = torch.einsum("cd,bdhw->bchw", classifier.weight[:, :, 0, 0], layers["embedding"])
    torch.testing.assert_close(layers["logits"], expected + classifier.bias[:, None, None])


def test_samples_of_a_batch_do_not_mix_in_evaluation():
    images = torch.rand(3, 3, 32, 48)
    with torch.no_grad():
        together = network()(images)
        alone = torch.cat([network()(image[None]) for image in images])
    torch.testing.assert_close(together, alone)


def test_new_heads_start_as_the_default_head_or_at_random_on_another_map():
    net = network()
    grown = with_heads(net, (("agnostic", "fused"), ("dusk", "fused"), ("deep", "stage3"))).eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        for head in ("agnostic", "dusk"):
            torch.testing.assert_close(grown(image, head), net(image))
        assert not torch.allclose(grown(image, "deep"), net(image))
        torch.testing.assert_close(grown(image), grown(image, "agnostic"))


def test_a_head_on_an_unknown_map_is_refused():
    with pytest.raises(ValueError, match="reads stage9; expected one of"):
        SegmentationNetwork(NetworkConfig(heads=(("main", "stage9"),)))


def test_resize_by_an_integer_factor_keeps_a_linear_ramp():
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    wide = resize(ramp, (8, 16))
    torch.testing.assert_close(wide[0, 0, 0, 1:-1], torch.arange(14) / 2 + 0.25)
