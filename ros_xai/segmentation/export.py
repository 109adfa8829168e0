"""A segmentation network as ONNX: labels and confidence, any size from 16 pixels."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from ros_xai.segmentation.network import SegmentationNetwork

INPUTS = ("image",)
OUTPUTS = ("labels", "confidence")


class Deployed(nn.Module):
    """image [1, 3, H, W] in [0, 1] -> label int32 [1, H, W], its probability float [1, H, W]."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(image)
        best = logits.amax(1, keepdim=True)
        # softmax at the maximum: 1 / sum exp(logit - max), without the other classes' quotients
        confidence = (logits - best).exp().sum(1).reciprocal()
        return logits.argmax(1).int(), confidence


def to_onnx(network: SegmentationNetwork) -> bytes:
    """Serialised ONNX model with dynamic height and width, batch norms folded in."""
    buffer = io.BytesIO()
    axes = {name: {2: "height", 3: "width"} for name in INPUTS}
    axes |= {name: {1: "height", 2: "width"} for name in OUTPUTS}
    with warnings.catch_warnings():
        # The graph exporter is announced to change; its plain operators are what engines fuse.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Deployed(network).eval(),
            (torch.zeros(1, 3, 64, 64),),
            buffer,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()
