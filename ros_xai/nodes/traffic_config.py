"""The parameters of nodes that take in tracks and a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ros_xai.ros.parameters import NodeConfig, parameter


@dataclass(frozen=True)
class TrafficConfig(NodeConfig):
    """What tracks and map come as, and when a track begins anew."""

    input_type: Literal["markers", "detections", "tracked_objects"] = parameter(
        "markers",
        "type of `tracks`: visualization_msgs/MarkerArray, vision_msgs/Detection3DArray or "
        "autoware_perception_msgs/TrackedObjects",
        reload=True,
    )
    map_file: str = parameter(
        "",
        "a map instead of the topics: Argoverse 2 or the world's .json, Lanelet2 .osm",
        reload=True,
    )
    map_origin: tuple[float, ...] = parameter(
        (), "latitude and longitude of the map frame's origin, degrees; for .osm", reload=True
    )
    max_gap: float = parameter(
        1.0, "a track not seen for longer begins anew, s", bounds=(0.05, 2.0), reload=True
    )
    max_speed: float = parameter(
        60.0,
        "a track that moves faster was given another's id and begins anew, m/s",
        bounds=(1.0, 200.0),
        reload=True,
    )

    def __post_init__(self) -> None:
        if len(self.map_origin) not in (0, 2):
            raise ValueError(
                f"map_origin: expected latitude and longitude, or nothing; got {self.map_origin}"
            )
