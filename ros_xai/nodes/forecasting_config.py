"""The parameters of the forecasting node."""

from __future__ import annotations

from dataclasses import dataclass

from ros_xai.nodes.traffic_config import TrafficConfig
from ros_xai.ros.parameters import parameter


@dataclass(frozen=True)
class ForecastingConfig(TrafficConfig):
    """The parameters of the forecasting node."""

    weights: str = parameter(
        "", "a .safetensors file of a forecaster; empty: the shipped network", reload=True
    )
    threads: int = parameter(
        0, "threads of torch, in the whole process; 0: its choice", bounds=(0, 256), reload=True
    )
    max_agents: int = parameter(
        200, "most agents forecast per message; those given later are context", bounds=(1, 2000)
    )
    publish_markers: bool = parameter(True, "publish forecast/markers, for people")
    marker_modes: int = parameter(3, "modes shown per agent", bounds=(1, 50))
