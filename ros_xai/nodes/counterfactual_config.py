"""The parameters of the counterfactual node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ros_xai.ros.parameters import NodeConfig, parameter


@dataclass(frozen=True)
class CounterfactualConfig(NodeConfig):
    """The parameters of the counterfactual node."""

    weights: str = parameter(
        "",
        "a .safetensors file of a decision and its oracle; empty: the shipped ones",
        reload=True,
    )
    image_weights: str = parameter(
        "", "a .safetensors file of an image generator; empty: the shipped one", reload=True
    )
    segmentation_weights: str = parameter(
        "", "a .safetensors file of the segmenter; empty: the shipped one", reload=True
    )
    image_transport: Literal["raw", "compressed"] = parameter(
        "raw", "raw: subscribe to image; compressed: to image/compressed", reload=True
    )
    regions: str = parameter(
        "", "classes whose look may change, as car,sign; empty: all that are seen"
    )
    steps: int = parameter(100, "most steps of one search", bounds=(1, 1000))
    rate: float = parameter(0.03, "size of a step", bounds=(1e-4, 1.0))
    latency_tolerance_ms: float = parameter(
        20_000.0, "a search that takes longer is a WARN in /diagnostics, ms", bounds=(1.0, 1e6)
    )
