"""The forecasting node and a peer that sends tracks and maps, for its tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from ros_xai.nodes.forecasting import ForecastingNode
from ros_xai.nodes.traffic import MAP_TOPICS
from ros_xai.ros import pointclouds, qos
from tests.spinning import Spinning
from tests.waiting import until

OUTPUTS = ("points", "stability", "attribution")


def marker(
    id: int, x: float, y: float = 0.0, ns: str = "car", tick: int = 0, frame: str = "map"
) -> Marker:
    stamp = Time(sec=100 + tick // 10, nanosec=tick % 10 * 100_000_000)
    made = Marker(header=Header(stamp=stamp, frame_id=frame), ns=ns, id=id)
    made.pose.position.x, made.pose.position.y = x, y
    made.pose.orientation.w = 1.0
    return made


def tile(side: int, x: float, percent: int) -> OccupancyGrid:
    """A square map of `side` cells, all alike."""
    grid = OccupancyGrid(header=Header(frame_id="map"))
    grid.info.resolution, grid.info.width, grid.info.height = 0.5, side, side
    grid.info.origin.position.x, grid.info.origin.orientation.w = x, 1.0
    grid.data = [percent] * side**2
    return grid


def road() -> OccupancyGrid:
    """Drivable for |y| < 5 m, x from -100 to 200."""
    grid = OccupancyGrid(header=Header(frame_id="map"))
    grid.info.resolution, grid.info.width, grid.info.height = 0.5, 600, 60
    grid.info.origin.position.x, grid.info.origin.position.y = -100.0, -15.0
    grid.info.origin.orientation.w = 1.0
    cells = np.zeros((60, 600), np.int8)
    cells[20:40] = 100
    grid.data = cells.ravel().tolist()
    return grid


class Street:
    """The node, a peer that sends tracks and maps and keeps the answers, spun in a thread."""

    def __init__(self, context: Any, **parameters: Any) -> None:
        start = {"qos_overrides./tracks.subscription.reliability": "reliable", **parameters}
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = ForecastingNode(context=context, parameter_overrides=overrides)
        self.peer = Node("peer", context=context)
        self.tracks = self.peer.create_publisher(MarkerArray, "tracks", 10)
        self.maps = {
            topic: self.peer.create_publisher(OccupancyGrid, topic, qos.latched())
            for topic in MAP_TOPICS
        }
        self.heard: dict[str, list[Any]] = {name: [] for name in (*OUTPUTS, "markers")}
        for name, kept in self.heard.items():
            kind = MarkerArray if name == "markers" else PointCloud2
            self.peer.create_subscription(kind, f"forecast/{name}", kept.append, 500)
        self.spinning = Spinning(context, self.node, self.peer)
        until(lambda: self.tracks.get_subscription_count() == 1)
        until(lambda: all(p.get_subscription_count() == 1 for p in self.maps.values()))
        outputs = [p for p in self.node.publishers if p.topic_name.startswith("/forecast/")]
        until(lambda: all(p.get_subscription_count() for p in outputs))

    def send(self, *boxes: Marker) -> None:
        before = self.node.received["/tracks"]
        self.tracks.publish(MarkerArray(markers=list(boxes)))
        until(lambda: self.node.received["/tracks"] > before and self.node.idle())

    def give_map(self, grid: OccupancyGrid, topic: str = "map") -> None:
        before = self.node.received[f"/{topic}"]
        self.maps[topic].publish(grid)
        until(lambda: self.node.received[f"/{topic}"] > before)

    def answers(self, count: int) -> dict[str, np.ndarray]:
        """The newest clouds, once `count` of each have come."""
        until(lambda: all(len(self.heard[name]) == count for name in OUTPUTS))
        return {name: pointclouds.to_structured(self.heard[name][-1]) for name in OUTPUTS}

    def balanced(self) -> bool:
        node = self.node
        return node.frames_in == node.answered + node.monitor.frame_drops() + node.pending()

    def close(self) -> None:
        self.spinning.close()
