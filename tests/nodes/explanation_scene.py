"""The explanation node and a peer that plays camera and depth node, through real rclpy."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ros_xai.nodes.explanation import ExplanationNode
from ros_xai.ros import images
from tests.waiting import until

HEIGHT, WIDTH = 64, 128
INPUTS = {"image": Image, "camera_info": CameraInfo, "depth/sparse": Image}
QUICK = {"rows": 2, "columns": 4, "publish_every": 20, "budget_ms": 1e5, "by": "lidar",
         "ms_per_second": 1000.0, "region": [8, 24, 40, 56], "idle": False}  # fmt: skip


def header(milliseconds: int) -> Header:
    seconds, rest = divmod(milliseconds, 1000)
    return Header(stamp=Time(sec=seconds, nanosec=rest * 1_000_000), frame_id="camera_optical")


def image(milliseconds: int) -> Image:
    """The same every second."""
    pixels = np.random.default_rng(milliseconds % 1000).integers(
        0, 255, (HEIGHT, WIDTH, 3), np.uint8
    )
    return images.to_message(pixels, "rgb8", header(milliseconds))


def sparse(milliseconds: int) -> Image:
    """Beams on three rows: 10 m on the left, 30 m on the right."""
    depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    depth[20:60:16, ::2] = np.where(np.arange(0, WIDTH, 2) < WIDTH // 2, 10.0, 30.0)
    return images.to_message(depth, "32FC1", header(milliseconds))


def camera(milliseconds: int) -> CameraInfo:
    K = [110.0, 0.0, 63.5, 0.0, 110.0, 31.5, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(milliseconds), width=WIDTH, height=HEIGHT, k=K)


class Scene:
    """The node, a peer that plays camera and depth node, and an executor in a thread."""

    def __init__(self, context: Any, *others: Node, **parameters: Any) -> None:
        start: dict[str, Any] = dict(QUICK)
        inputs: dict[str, Any] = dict(INPUTS)
        if parameters.get("image_transport") == "compressed":
            del inputs["image"]
            inputs["image/compressed"] = CompressedImage
        for topic in inputs:
            start[f"qos_overrides./{topic}.subscription.reliability"] = "reliable"
        start |= parameters
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = ExplanationNode(context=context, parameter_overrides=overrides)
        self.peer = Node("peer", context=context)
        self.senders = {t: self.peer.create_publisher(kind, t, 10) for t, kind in inputs.items()}
        self.heatmaps: list[Image] = []
        self.overlays: list[Image] = []
        self.reports: list[DiagnosticArray] = []
        for topic, kind, seen in (
            ("explanation/heatmap", Image, self.heatmaps),
            ("explanation/overlay", Image, self.overlays),
            ("explanation/faithfulness", DiagnosticArray, self.reports),
        ):
            self.peer.create_subscription(kind, topic, seen.append, 50)
        self.nodes = [self.node, self.peer, *others]
        self.executor = SingleThreadedExecutor(context=context)
        for node in self.nodes:
            self.executor.add_node(node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        by_image = parameters.get("task") == "segmentation"
        heard = [topic for topic in inputs if "image" in topic or not by_image]
        until(lambda: all(self.senders[topic].get_subscription_count() for topic in heard))
        until(lambda: self.node._faithfulness.get_subscription_count() == 1)

    def send(self, topic: str, message: Any) -> None:
        before = self.node.received[f"/{topic}"]
        self.senders[topic].publish(message)
        until(lambda: self.node.received[f"/{topic}"] > before)

    def frame(self, milliseconds: int) -> None:
        self.send("image", image(milliseconds))
        self.send("camera_info", camera(milliseconds))
        self.send("depth/sparse", sparse(milliseconds))

    def accounted(self) -> bool:
        node = self.node
        return node.frames_in == node.answered + node.monitor.frame_drops() + node.pending()

    def close(self) -> None:
        self.executor.shutdown()
        self.thread.join(10)
        for node in self.nodes:
            node.destroy_node()
