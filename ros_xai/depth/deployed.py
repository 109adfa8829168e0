"""A depth network as it is deployed: the finest disparity only, on an engine."""

from __future__ import annotations

from torch import Tensor, nn

from ros_xai.depth.network import DepthNetwork
from ros_xai.engines.base import Engine
from ros_xai.engines.compile import EngineName, Signature, compile_network

SIGNATURE = Signature(inputs={"image": 3, "geometry": 4}, outputs={"disparity": 2})


class Finest(nn.Module):
    """image [B, 3, H, W], geometry [B, 4, H, W] -> (disparity [B, 1, H, W],)."""

    def __init__(self, network: DepthNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, geometry: Tensor) -> tuple[Tensor]:
        return (self.network(image, geometry)[0],)


def make_engine(network: DepthNetwork, engine: EngineName, threads: int = 0) -> Engine:
    """The network on the named engine, for sizes that 32 divides."""
    return compile_network(Finest(network), SIGNATURE, engine, threads)
