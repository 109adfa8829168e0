"""The parameters of the explanation node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ros_xai.nodes.traffic_config import TrafficConfig
from ros_xai.ros.parameters import parameter

MASKABLE = {
    "depth": ("image", "lidar"),
    "segmentation": ("image",),
    "forecasting": ("map", "neighbours"),
}


@dataclass(frozen=True)
class ExplanationConfig(TrafficConfig):
    """The parameters of the explanation node."""

    task: Literal["depth", "segmentation", "forecasting"] = parameter(
        "depth", "the network that is explained", reload=True
    )
    weights: str = parameter(
        "", "weights of the explained node; empty: the shipped network", reload=True
    )
    engine: Literal["torch", "openvino", "openvino-int8"] = parameter(
        "torch",
        "what runs the network in batches; openvino-int8 for segmentation, torch for forecasting",
        reload=True,
    )
    threads: int = parameter(1, "threads of openvino", bounds=(1, 256), reload=True)
    max_pixels: int = parameter(
        320 * 96,
        "most pixels the network works at while it is explained",
        bounds=(1024, 4_000_000),
        reload=True,
    )
    image_transport: Literal["raw", "compressed"] = parameter(
        "raw", "raw: subscribe to image; compressed: to image/compressed", reload=True
    )
    niceness: int = parameter(
        10, "niceness of the working thread, so that other nodes come first", bounds=(0, 19)
    )
    idle: bool = parameter(
        True, "work only while no other thread wants the core; on a full machine next to never"
    )
    on_request: bool = parameter(
        False, "explain only after a call of ~/explain; else whenever the last one is done"
    )
    target: str = parameter(
        "car", "class (segmentation), or id of the track (forecasting) that is explained"
    )
    by: Literal["", "image", "lidar", "map", "neighbours"] = parameter(
        "", "input whose parts are masked; empty: the image, of a forecast the map"
    )
    region: tuple[int, ...] = parameter(
        (), "box asked about: left, top, right, bottom in pixels; empty: the whole image"
    )
    method: Literal["sobol", "effects"] = parameter(
        "sobol", "total-order Sobol indices, or first-order effects, which settle sooner"
    )
    rows: int = parameter(6, "rows of cells", bounds=(1, 64))
    columns: int = parameter(12, "columns of cells", bounds=(1, 64))
    batch_size: int = parameter(
        16, "inputs of one forward, which bounds the memory", bounds=(1, 1024), reload=True
    )
    budget_ms: float = parameter(
        2000.0, "an explanation ends after so much computing, ms", bounds=(10.0, 1e6)
    )
    ms_per_second: float = parameter(
        300.0, "most computing in a second of wall time, ms", bounds=(1.0, 1000.0)
    )
    publish_every: int = parameter(
        146, "forwards between two published refinements", bounds=(1, 100_000)
    )
    latency_tolerance_ms: float = parameter(
        20_000.0,
        "an explanation that takes longer is a WARN in /diagnostics, ms",
        bounds=(1.0, 1e6),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        maskable = MASKABLE[self.task]
        if self.by and self.by not in maskable:
            known = " or ".join(maskable)
            raise ValueError(f"by: expected {known} for task {self.task}; got {self.by}")
        if not self.region:
            return
        if len(self.region) != 4:
            raise ValueError(f"region: expected 4 numbers or none; got {len(self.region)}")
        left, top, right, bottom = self.region
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError(
                f"region: expected 0 <= left < right and 0 <= top < bottom; got {self.region}"
            )
