"""A depth network as ONNX: the finest disparity only, any size that 32 divides."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from ros_xai.depth.network import DepthNetwork

INPUTS = ("image", "geometry")
OUTPUTS = ("disparity",)


class Finest(nn.Module):
    """The network as deployed: image, geometry -> (disparity [B, 1, H, W],)."""

    def __init__(self, network: DepthNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, geometry: Tensor) -> tuple[Tensor]:
        return (self.network(image, geometry)[0],)


def to_onnx(network: DepthNetwork) -> bytes:
    """Serialised ONNX model with dynamic height and width, batch norms folded in."""
    buffer = io.BytesIO()
    example = (torch.zeros(1, 3, 64, 64), torch.zeros(1, 4, 64, 64))
    axes = {name: {2: "height", 3: "width"} for name in (*INPUTS, *OUTPUTS)}
    with warnings.catch_warnings():
        # The graph exporter is announced to change; its plain operators are what engines fuse.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Finest(network).eval(),
            example,
            buffer,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()
