"""The parameters of the process that holds all perception nodes."""

from __future__ import annotations

from dataclasses import dataclass

from ros_xai.ros.parameters import parameter


@dataclass(frozen=True)
class PerceptionConfig:
    """Which nodes the process holds, and what becomes of one that cannot start."""

    depth: bool = parameter(True, "run the depth node", read_only=True)
    segmentation: bool = parameter(True, "run the segmentation node", read_only=True)
    forecasting: bool = parameter(True, "run the forecasting node", read_only=True)
    explanation: bool = parameter(True, "run the explanation node", read_only=True)
    retry_period: float = parameter(
        10.0,
        "a node that could not be configured is tried again after this long, s; 0: never",
        bounds=(0.0, 3600.0),
    )
