"""The parameters of the segmentation node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ros_xai.engines.compile import check_engine
from ros_xai.ros.parameters import NodeConfig, parameter
from ros_xai.segmentation.segmenter import MAX_PIXELS


@dataclass(frozen=True)
class SegmentationConfig(NodeConfig):
    """The parameters of the segmentation node."""

    weights: str = parameter(
        "",
        "a .safetensors file with its card beside; empty: the shipped network. Set on "
        "the running node it is checked, then swapped in between two frames, or refused with the "
        "reason",
    )
    engine: str = parameter(
        "torch",
        "what runs the network: torch, onnxruntime, openvino, openvino-bf16 (two digits, faster), "
        "or the folder of a bundle by ros_xai prune, which holds its own network",
        reload=True,
    )
    threads: int = parameter(
        0, "threads of onnxruntime or openvino; 0: their choice", bounds=(0, 256), reload=True
    )
    max_pixels: int = parameter(
        MAX_PIXELS, "most pixels the network works at", bounds=(1024, 4_000_000), reload=True
    )
    image_transport: Literal["raw", "compressed"] = parameter(
        "raw", "raw: subscribe to image; compressed: to image/compressed", reload=True
    )
    publish_overlay: bool = parameter(True, "publish segmentation/overlay, the tinted image")
    overlay_opacity: float = parameter(0.5, "share of the labels' colours", bounds=(0.0, 1.0))

    def __post_init__(self) -> None:
        check_engine(self.engine)
