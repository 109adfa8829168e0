"""The deployed form of a depth network answers what the network answers."""

import pytest
import torch
import torch.nn.functional as F

from ros_xai.depth.blocks import conv3x3
from ros_xai.depth.deployed import Finest, of_phases, of_upsampled
from ros_xai.depth.estimator import load_network
from ros_xai.depth.network import NetworkConfig, build

TINY = {
    "image_widths": (8, 8, 8, 16, 16),
    "lidar_widths": (4, 4, 8, 8, 8),
    "decoder_widths": (4, 8, 8, 8, 16),
    "blocks": 1,
}


def test_a_convolution_after_upsampling_is_one_at_half_size_borders_included():
    conv, x = conv3x3(3, 5).double(), torch.randn(2, 3, 4, 6, dtype=torch.float64)
    large = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(of_upsampled(conv).double()(x), F.pixel_unshuffle(large, 2))


def test_a_convolution_of_phases_is_one_at_full_size_borders_included():
    conv, x = conv3x3(3, 2).double(), torch.randn(2, 3, 8, 10, dtype=torch.float64)
    small = of_phases(conv).double()(F.pixel_unshuffle(x, 2))
    torch.testing.assert_close(F.pixel_shuffle(small, 2), conv(x))


@pytest.mark.parametrize("architecture", ["monodepth2", "monodepth2_lidar", "sparse_to_dense"])
@pytest.mark.parametrize("prior", [False, True])
def test_the_deployed_network_is_the_network(architecture, prior):
    if architecture == "monodepth2" and prior:
        pytest.skip("without LiDAR there is no prior")
    torch.manual_seed(0)
    network = build(NetworkConfig(architecture=architecture, prior=prior, **TINY)).eval()
    image, geometry = torch.rand(1, 3, 64, 96), torch.rand(1, 4, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            Finest(network)(image, geometry)[0], network(image, geometry)[0], rtol=1e-4, atol=1e-6
        )


def test_the_shipped_network_deployed_is_the_shipped_network():
    network = load_network()
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, 96, 160, generator=generator)
    geometry = torch.rand(1, 4, 96, 160, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(
            Finest(network)(image, geometry)[0], network(image, geometry)[0], rtol=1e-4, atol=1e-6
        )
