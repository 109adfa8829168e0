"""A depth node among real rclpy peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from ros_xai.nodes.depth import DepthNode
from ros_xai.ros import images, pointclouds
from tests.spinning import Spinning
from tests.waiting import until

HEIGHT, WIDTH = 64, 96
FOCAL = 60.0
WALL = 10.0  # metres ahead
# In one place: a camera's right, down, forward from a LiDAR's forward, left, up.
T_CAMERA_LIDAR = [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
INPUTS = {"image": Image, "camera_info": CameraInfo, "points": PointCloud2}


def header(milliseconds: int, frame: str = "camera_optical") -> Header:
    seconds, rest = divmod(milliseconds, 1000)
    return Header(stamp=Time(sec=seconds, nanosec=rest * 1_000_000), frame_id=frame)


def image(milliseconds: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    pixels = np.random.default_rng(milliseconds).integers(0, 255, (height, width, 3), np.uint8)
    return images.to_message(pixels, "rgb8", header(milliseconds))


def camera_info(milliseconds: int, focal: float = FOCAL) -> CameraInfo:
    K = [focal, 0.0, (WIDTH - 1) / 2, 0.0, focal, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(milliseconds), width=WIDTH, height=HEIGHT, k=K)


def wall(rings: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A wall at WALL metres; ring r of `rings`, 0 on top, has elevation (3.5 - r) * 2 degrees."""
    azimuth, ring = np.meshgrid(np.radians(np.linspace(-35, 35, 141)), np.arange(rings))
    elevation = np.radians(2.0 * (3.5 - ring))
    x = np.full(ring.size, WALL)
    y = -WALL * np.tan(azimuth).ravel()
    z = np.hypot(x, y) * np.tan(elevation).ravel()
    return np.stack([x, y, z], axis=1).astype(np.float32), ring.ravel().astype(np.uint16)


def points(milliseconds: int, with_ring: bool = True, **changes: Any) -> PointCloud2:
    xyz, ring = wall()
    fields = {"ring": ring} if with_ring else {}
    message = pointclouds.to_message(xyz, header(milliseconds, "lidar"), **fields)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


class Drive:
    """The node, a peer that plays its sensors and listens to it, and an executor in a thread.

    `send` returns when the node's callback has, so tests are deterministic without sleeping. The
    node's own report each second, which would take the news from `status`, stays off unless asked.
    """

    FOCAL, WALL, T_CAMERA_LIDAR = FOCAL, WALL, T_CAMERA_LIDAR
    image, camera_info, points = map(staticmethod, (image, camera_info, points))

    def __init__(self, context: Any, reports: bool = False, **parameters: Any) -> None:
        start: dict[str, Any] = {"T_camera_lidar": T_CAMERA_LIDAR}
        for topic in ("image", "image/compressed", "camera_info", "points"):
            start[f"qos_overrides./{topic}.subscription.reliability"] = "reliable"
        start |= parameters
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = DepthNode(context=context, parameter_overrides=overrides)
        if not reports:
            for timer in self.node.timers:
                timer.cancel()
        self.peer = Node("peer", context=context)
        types = dict(INPUTS)
        if start.get("image_transport") == "compressed":
            types["image/compressed"] = types.pop("image")
            types["image/compressed"] = CompressedImage
        self.senders = {t: self.peer.create_publisher(kind, t, 10) for t, kind in types.items()}
        self.depth: list[Image] = []
        self.sparse: list[Image] = []
        self.camera: list[CameraInfo] = []
        self.cloud: list[PointCloud2] = []
        self.reports: list[DiagnosticArray] = []
        for topic, kind, seen in (
            ("depth/image", Image, self.depth),
            ("depth/sparse", Image, self.sparse),
            ("depth/camera_info", CameraInfo, self.camera),
            ("depth/points", PointCloud2, self.cloud),
            ("/diagnostics", DiagnosticArray, self.reports),
        ):
            self.peer.create_subscription(kind, topic, seen.append, 50)
        self.spinning = Spinning(context, self.node, self.peer)
        until(lambda: all(s.get_subscription_count() for s in self.senders.values()))
        until(lambda: self.peer.count_publishers("/depth/points") == 1)
        until(lambda: self.node._depth.get_subscription_count() == 1)

    def send(self, topic: str, message: Any) -> None:
        """Publishes a message or its bytes, and waits until the node has taken it and is idle."""
        before = self.node.received[f"/{topic}"]
        self.senders[topic].publish(message)
        until(lambda: self.node.received[f"/{topic}"] > before and self.node.idle())

    def frame(self, milliseconds: int) -> None:
        """One good set of inputs."""
        self.send("camera_info", camera_info(milliseconds))
        self.send("points", points(milliseconds))
        self.send("image", image(milliseconds))

    def answers(self) -> list[int]:
        """Stamps in ms of what was answered."""
        until(lambda: len(self.depth) == self.node.answered)
        return [m.header.stamp.sec * 1000 + m.header.stamp.nanosec // 10**6 for m in self.depth]

    def status(self) -> tuple[str, dict[str, str]]:
        """Message and values that the next report on /diagnostics would have."""
        node = self.node
        found = [*node.monitor.findings(), *node.findings()]
        return "; ".join(finding.text for finding in found), node.monitor.values()

    def accounted(self) -> bool:
        """Every image has had exactly one end, or still waits for one."""
        node = self.node
        return node.frames_in == node.answered + node.monitor.frame_drops() + node.pending()

    def close(self) -> None:
        self.spinning.close()


@pytest.fixture
def drive(ros_context: Any) -> Iterator[Callable[..., Drive]]:
    """Makes depth nodes with the given parameters."""
    drives: list[Drive] = []

    def make(**arguments: Any) -> Drive:
        drives.append(Drive(ros_context, **arguments))
        return drives[-1]

    yield make
    for made in drives:
        made.close()


@pytest.fixture
def sensors() -> Any:
    """Makers of the messages of one camera and one LiDAR, by their stamp in milliseconds."""
    return Drive
