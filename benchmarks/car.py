"""A car for benchmarks: plays the KITTI clip and tracked agents in real time, times the answers."""

from __future__ import annotations

import struct
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from ros_xai.data.kitti import KittiClip
from ros_xai.replay.bag import Bag
from ros_xai.replay.from_kitti import convert
from ros_xai.replay.player import stamp_of
from ros_xai.ros import pointclouds

NODES = ("depth", "segmentation", "forecasting", "explanation")
INPUTS = {"/image": Image, "/camera_info": CameraInfo, "/points": PointCloud2}
BAG_TOPICS = {
    "/camera/image": "/image",
    "/camera/camera_info": "/camera_info",
    "/lidar/points": "/points",
}
ANSWERS = {
    "depth": ("/depth/image", Image),
    "segmentation": ("/segmentation/labels", Image),
    "forecasting": ("/forecast/points", PointCloud2),
    "explanation": ("/explanation/heatmap", Image),
}
AGENTS = 30


def kitti_frames(folder: Path) -> tuple[list[dict[str, bytes]], list[float]]:
    """Messages of each frame of the clip by input topic, from the bag of `bag from-kitti`, and
    T_camera_lidar [16]."""
    clip = KittiClip(folder)
    frames: dict[int, dict[str, bytes]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "kitti.mcap"
        convert(clip, path)
        for record in Bag(path).records():
            if record.topic in BAG_TOPICS:
                frames[record.log_ns][BAG_TOPICS[record.topic]] = record.data
    T = np.asarray(clip.T_camera_lidar, dtype=np.float64)
    order = ("/camera_info", "/points", "/image")
    return [{t: frames[key][t] for t in order} for key in sorted(frames)], T.ravel().tolist()


@dataclass
class Faults:
    """What goes wrong with the sensors."""

    silent: set[str] = field(default_factory=set)  # topics that publish nothing
    corrupt: float = 0.0  # share of messages with damaged bytes
    offset_ns: int = 0  # of the stamps


@dataclass
class Trace:
    """What was sent and answered since it was begun; times of time.perf_counter()."""

    sent: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    answered: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    damaged: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    counts: Counter[str] = field(default_factory=Counter)
    agents: list[int] = field(default_factory=list)  # tracks in each message of forecasts

    def latencies_ms(self, node: str) -> list[float]:
        """From the moment the trigger was published to the answer, for answered frames."""
        trigger = self.sent["/tracks" if node == "forecasting" else "/image"]
        return [1e3 * (t - trigger[s]) for s, t in self.answered[node].items() if s in trigger]

    def summary(self, node: str, skip_last: int = 3) -> dict[str, Any]:
        """Frames, answers and percentiles; the newest `skip_last` frames may be on their way."""
        trigger = self.sent["/tracks" if node == "forecasting" else "/image"]
        due = sorted(trigger)[: len(trigger) - skip_last]
        answered = sum(stamp in self.answered[node] for stamp in due)
        latencies = self.latencies_ms(node)
        figures: dict[str, Any] = {"frames": len(due), "answered": answered}
        if latencies:
            p50, p99 = np.percentile(latencies, (50, 99))
            figures |= {
                "p50_ms": round(float(p50), 1),
                "p99_ms": round(float(p99), 1),
                "max_ms": round(max(latencies), 1),
            }
        return figures


class Car:
    """Publishes the frames in a loop with present stamps, listens, and keeps a `trace`.

    Inputs are published reliably, as drivers do; the answers come as bytes.
    """

    def __init__(
        self,
        frames: Sequence[dict[str, bytes]],
        agents: int = AGENTS,
        inputs: Mapping[str, type[Any]] = INPUTS,
        answers: Mapping[str, tuple[str, type[Any]]] = ANSWERS,
    ) -> None:
        self.frames, self.agents = frames, agents
        self.faults, self.trace = Faults(), Trace()
        self.status: dict[str, Any] = {}
        self.reports: Counter[str] = Counter()  # of the manager, by "active" or what is not
        self._rng = np.random.default_rng(0)
        self._index = 0
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node("car", context=self._context)
        reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        kinds = {**inputs, "/tracks": MarkerArray}
        self._senders = {t: self.node.create_publisher(k, t, reliable) for t, k in kinds.items()}
        for name, (topic, kind) in answers.items():
            self.node.create_subscription(
                kind, topic, lambda data, n=name: self._on_answer(n, data), reliable, raw=True
            )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 50)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the executor and the context."""
        self._executor.shutdown()
        self._thread.join(5)
        rclpy.try_shutdown(context=self._context)

    def listeners(self, topic: str) -> int:
        """Subscriptions to an input."""
        return self._senders[topic].get_subscription_count()

    def wait(self, condition: Callable[[], Any], seconds: float = 120.0, rate: float = 0) -> bool:
        """Until the condition holds, feeding at `rate` Hz if that is not 0."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            if rate:
                self.feed()
            time.sleep(1 / rate if rate else 0.02)
        return True

    def drive(self, seconds: float, rate: float, seen: Callable[[], None] = lambda: None) -> Trace:
        """Feeds at `rate` Hz for so long, on an absolute schedule; returns a fresh trace."""
        self.trace = trace = Trace()
        begun = time.perf_counter()
        for number in range(round(seconds * rate)):
            left = begun + number / rate - time.perf_counter()
            if left > 0:
                time.sleep(left)
            self.feed()
            seen()
        time.sleep(min(1.0, 10 / rate))
        return trace

    def feed(self) -> None:
        """One frame: calibration, cloud, tracks, image."""
        now = time.time_ns() + self.faults.offset_ns
        frame = self.frames[self._index % len(self.frames)]
        self._index += 1
        if self.agents:
            self._send("/tracks", now, serialize_message(self._tracks(now)))
        for topic, data in frame.items():  # the image last
            self._send(topic, now, _stamped(data, now))

    def _send(self, topic: str, stamp_ns: int, data: bytes) -> None:
        if topic in self.faults.silent:
            return
        if self.faults.corrupt and self._rng.random() < self.faults.corrupt:
            data = self._damaged(data)
            self.trace.damaged[topic].add(stamp_ns)
        self.trace.sent[topic.removesuffix("/compressed")][stamp_ns] = time.perf_counter()
        self._senders[topic].publish(data)

    def _damaged(self, data: bytes) -> bytes:
        """Cut off somewhere, or 16 bytes overwritten in the head, where sizes and names are."""
        if self._rng.random() < 0.5:
            return data[: int(self._rng.integers(4, len(data)))]
        damaged = bytearray(data)
        for place in self._rng.integers(12, min(120, len(data)), 16):
            damaged[place] = int(self._rng.integers(256))
        return bytes(damaged)

    def _tracks(self, stamp_ns: int) -> MarkerArray:
        """Cars on a grid, each at a speed of its own."""
        array = MarkerArray()
        t = self._index * 0.1
        for track in range(self.agents):
            row, column = divmod(track, 6)
            marker = Marker(ns="car", id=track, type=Marker.CUBE, action=Marker.ADD)
            marker.header.frame_id = "map"
            marker.header.stamp.sec, marker.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            speed = 3.0 + track * 0.3
            marker.pose.position.x = 12.0 * column + (speed * t) % 200.0
            marker.pose.position.y = 4.0 * row
            marker.pose.orientation.w = 1.0
            marker.scale.x, marker.scale.y, marker.scale.z = 4.5, 1.9, 1.6
            marker.color.a = 0.6
            array.markers.append(marker)
        return array

    def _on_answer(self, name: str, data: bytes) -> None:
        now, stamp = time.perf_counter(), stamp_of(data)
        trace = self.trace
        trace.counts[name] += 1
        if stamp is not None:
            trace.answered[name].setdefault(stamp, now)
        if name == "forecasting":
            trace.agents.append(_tracks_in(data))

    def _on_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.split(": ")[-1]
            self.status[name] = status
            if name == "nodes":
                states = {v.key: v.value for v in status.values if v.key in NODES}
                wrong = [f"{node} {state}" for node, state in states.items() if state != "active"]
                self.reports[", ".join(wrong) or "active"] += 1

    def values(self, name: str) -> dict[str, str]:
        """The newest figures of a node's diagnostics."""
        return {v.key: v.value for v in self.status[name].values} if name in self.status else {}


def _stamped(data: bytes, stamp_ns: int) -> bytes:
    """A serialised message that begins with a header, with another stamp."""
    stamped = bytearray(data)
    struct.pack_into("<iI", stamped, 4, *divmod(stamp_ns, 10**9))
    return bytes(stamped)


def _tracks_in(data: bytes) -> int:
    """Different track_id in a serialised PointCloud2 of forecasts."""
    points = pointclouds.to_structured(deserialize_message(data, PointCloud2))
    return len(np.unique(points["track_id"])) if len(points) else 0
