"""A segmentation network as it is deployed: labels and confidence, on an engine."""

from __future__ import annotations

from torch import Tensor, nn

from ros_xai.engines.base import Engine
from ros_xai.engines.compile import Signature, compile_network
from ros_xai.segmentation.network import SegmentationNetwork

SIGNATURE = Signature(inputs={"image": 3}, outputs={"labels": 1, "confidence": 1})


class Deployed(nn.Module):
    """image [1, 3, H, W] in [0, 1] -> label int32 [1, H, W], its probability float [1, H, W]."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(image)
        # The sum of exponentials alone would do, but engines sum over channels far more slowly
        # than they take the softmax, which they know as a whole.
        return logits.argmax(1).int(), logits.softmax(1).amax(1)


def make_engine(network: SegmentationNetwork, engine: str, threads: int = 0) -> Engine:
    """The network on the named engine, for any size from 16 pixels."""
    return compile_network(Deployed(network), SIGNATURE, engine, threads)
