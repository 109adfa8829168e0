"""A peer of nodes that run as processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ros_xai.data.segmentation import Classes
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork

ANSWERS = ("depth/image", "segmentation/labels")
PERIOD_S = 0.1
PATIENCE_S = 120.0


def bundle(path: Path) -> Path:
    """A tiny segmenter."""
    torch.manual_seed(0)
    shape = NetworkConfig(classes=2, widths=(4, 8, 8, 8), blocks=1, decoder=8)
    classes = Classes(("road", "car"), ((1, 2, 3), (200, 0, 0)), ((0,), (1,)))
    return save_bundle(path, SegmentationNetwork(shape).eval(), classes, {"data": "none"})


class Car:
    """A peer that plays camera and LiDAR, listens to the answers, and starts processes."""

    def __init__(self, context: Any, sensors: Any, folder: Path) -> None:
        self.sensors, self.folder, self.context = sensors, folder, context
        self.stamp = 0  # ms of the newest image
        self.answers: dict[str, list[int]] = {topic: [] for topic in ANSWERS}
        self.status: dict[str, Any] = {}  # newest of each name on /diagnostics
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "log"
        self.peer = Node("car", context=context)
        kinds = {"image": Image, "camera_info": CameraInfo, "points": PointCloud2}
        self.senders = {t: self.peer.create_publisher(kind, t, 10) for t, kind in kinds.items()}
        for topic, seen in self.answers.items():
            self.peer.create_subscription(
                Image, topic, lambda m, s=seen: s.append(Time.from_msg(m.header.stamp)), 50
            )
        self.peer.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 50)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.peer)

    def _on_report(self, message: DiagnosticArray) -> None:
        self.status |= {each.name.split(": ")[-1]: each for each in message.status}

    def start(self, *arguments: str, module: str = "ros_xai.cli") -> subprocess.Popen[bytes]:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(self.context.get_domain_id())}
        with self.log.open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", f"from {module} import app; app()", *arguments],
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            )
        return self.processes[-1]

    def perception(self, *arguments: str, nodes: str = "depth,segmentation", **parameters: Any):
        """`ros_xai perception` with what the tests' sensors need."""
        given = {
            "depth:T_camera_lidar": self.sensors.T_CAMERA_LIDAR,
            "segmentation:weights": str(bundle(self.folder / "tiny.safetensors")),
            **{name.replace("__", ":"): value for name, value in parameters.items()},
        }
        flags = [f for n, v in given.items() for f in ("--param", f"{n}:={json.dumps(v)}")]
        return self.start("perception", "--nodes", nodes, *flags, *arguments)

    def feed(self) -> None:
        """The next image with its cloud and calibration."""
        self.stamp += 100
        for topic in ("camera_info", "points", "image"):
            self.senders[topic].publish(getattr(self.sensors, topic)(self.stamp))

    def until(self, condition: Callable[[], Any], feeding: bool = False) -> None:
        """Spins, and feeds at 10 Hz if asked, until the condition holds."""
        deadline, due = time.monotonic() + PATIENCE_S, time.monotonic()
        while not condition():
            assert time.monotonic() < deadline, f"did not come; log:\n{self.log.read_text()}"
            assert any(p.poll() is None for p in self.processes), self.log.read_text()
            if feeding and time.monotonic() >= due:
                due = time.monotonic() + PERIOD_S
                self.feed()
            self.executor.spin_once(timeout_sec=0.02)

    def answered(self, *topics: str, more: int = 3) -> None:
        """Feeds until every topic has so many more answers."""
        before = {topic: len(self.answers[topic]) for topic in topics}
        self.until(lambda: all(len(self.answers[t]) >= n + more for t, n in before.items()), True)

    def call(self, kind: type[Any], service: str, request: Any) -> Any:
        client = self.peer.create_client(kind, service)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.peer.destroy_client(client)
        return future.result()

    def values(self, name: str) -> dict[str, str]:
        """The newest figures that a node told."""
        self.until(lambda: name in self.status)
        return {value.key: value.value for value in self.status[name].values}

    def fresh(self, name: str) -> Any:
        """A status that is published from now on."""
        self.status.pop(name, None)
        self.until(lambda: name in self.status)
        return self.status[name]

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> int:
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def pid(self, name: str) -> int:
        """The newest process of that name that the supervisor told of."""
        told = re.findall(rf"{name} started as process (\d+)", self.log.read_text())
        return int(told[-1]) if told else 0

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        self.executor.shutdown()
        self.peer.destroy_node()
