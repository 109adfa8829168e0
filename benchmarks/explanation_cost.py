"""What explanations cost the node they explain: rate and latency of depth with and without them.

Depth and explanation run as processes of their own; this one plays the sensors (frames of the KITTI
clip of ROS_XAI_DATA) and counts the answers. Windows with a stream of requests to `~/explain`, so
that an explanation is always at work, and windows with that node inactive take turns. `saturated`:
the next image is sent when the last is answered, so every core is wanted; `paced`: 5 images a
second, as in a replay.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Literal

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from benchmarks import results
from ros_xai.core.camera import scale_intrinsics
from ros_xai.core.pointcloud import keep_rings
from ros_xai.data.kitti import RINGS, KittiClip
from ros_xai.ros import images, pointclouds

COMMAND = "ros_xai bench explanation-cost"
Pace = Literal["saturated", "paced"]
PERIOD = 0.2  # s between images when paced
REQUEST_EVERY = 0.25  # s
SHRUNK = 2  # larger messages exceed what the middleware's shared memory holds by default


@contextmanager
def node(name: str, inputs: tuple[str, ...], **parameters: Any) -> Iterator[None]:
    """A node of ours as a process, its inputs reliable: a lost image would be a lost answer."""
    reliable = {f"qos_overrides./{i}.subscription.reliability": "reliable" for i in inputs}
    chosen = (reliable | parameters).items()
    flags = [part for key, value in chosen for part in ("-p", f"{key}:={value}")]
    command = [sys.executable, "-m", f"ros_xai.nodes.{name}", "--ros-args", *flags]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


class Peer(Node):
    """Camera, LiDAR and listener."""

    def __init__(self, clip: KittiClip) -> None:
        super().__init__("peer")
        self.frames = [self._messages(clip, index) for index in range(8)]
        self.image = self.create_publisher(Image, "image", 10)
        self.points = self.create_publisher(PointCloud2, "points", 10)
        self.info = self.create_publisher(CameraInfo, "camera_info", 10)
        self.explain = self.create_client(Trigger, "/explanation/explain")
        self.states = self.create_client(ChangeState, "/explanation/change_state")
        self.came = threading.Condition()
        self.answers: dict[int, float] = {}
        self.explained = 0
        self.create_subscription(Image, "depth/image", self._on_depth, 10)
        self.create_subscription(Image, "explanation/heatmap", self._on_heatmap, 10)
        self.sent = 0

    @staticmethod
    def _messages(clip: KittiClip, index: int) -> tuple[Image, PointCloud2, CameraInfo]:
        width, height = clip.width // SHRUNK, clip.height // SHRUNK
        rgb = cv2.resize(clip.image(index), (width, height), interpolation=cv2.INTER_AREA)
        K = scale_intrinsics(clip.intrinsics, width / clip.width, height / clip.height)
        xyz, ring, _ = clip.scan(index)
        kept = keep_rings(ring, RINGS)
        header = Header(frame_id="camera_optical")
        cloud = pointclouds.to_message(xyz[kept].astype(np.float32), Header(frame_id="lidar"))
        info = CameraInfo(
            header=header,
            width=width,
            height=height,
            k=K.ravel().tolist(),
        )
        return images.to_message(rgb, "rgb8", header), cloud, info

    def _on_depth(self, message: Image) -> None:
        with self.came:
            self.answers[message.header.stamp.sec] = time.perf_counter()
            self.came.notify_all()

    def _on_heatmap(self, message: Image) -> None:
        self.explained += 1

    def switch(self, on: bool) -> None:
        """Activates the explanation node, or ends what it does."""
        wanted = Transition.TRANSITION_ACTIVATE if on else Transition.TRANSITION_DEACTIVATE
        asked = self.states.call_async(ChangeState.Request(transition=Transition(id=wanted)))
        while not asked.done():
            time.sleep(0.01)
        if not asked.result().success:
            raise RuntimeError(f"the explanation node refused transition {wanted}")

    def send(self) -> int:
        """Publishes the next frame, and returns its number."""
        self.sent += 1
        for publisher, message in zip(
            (self.points, self.info, self.image), self._stamped(self.sent)
        ):
            publisher.publish(message)
        return self.sent

    def _stamped(self, number: int) -> list[Any]:
        image, cloud, info = self.frames[number % len(self.frames)]
        for message in (image, cloud, info):
            message.header.stamp = Time(sec=number)
        return [cloud, info, image]

    def wait_for(self, number: int, seconds: float) -> bool:
        """Whether frame `number` was answered in time."""
        with self.came:
            return self.came.wait_for(lambda: number in self.answers, seconds)


def window(peer: Peer, seconds: float, pace: Pace, explaining: bool) -> dict[str, float]:
    """Answers a second and their median latency in ms over one window."""
    begun, heatmaps = time.perf_counter(), peer.explained
    latencies: list[float] = []
    asked = begun
    while (now := time.perf_counter()) < begun + seconds:
        if explaining and now >= asked:
            peer.explain.call_async(Trigger.Request())
            asked += REQUEST_EVERY
        number = peer.send()
        if peer.wait_for(number, 2.0):
            latencies.append(peer.answers[number] - now)
        if pace == "paced":
            time.sleep(max(0.0, now + PERIOD - time.perf_counter()))
    took = time.perf_counter() - begun
    return {
        "rate": len(latencies) / took,
        "latency_ms": 1e3 * median(latencies),
        "heatmaps": peer.explained - heatmaps,
    }


def measure(peer: Peer, pace: Pace, rounds: int, seconds: float) -> dict[str, Any]:
    """Medians over rounds in which both kinds of window take turns, and their ratio."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for turn in range(rounds):
        for explaining in (False, True) if turn % 2 == 0 else (True, False):
            if explaining:
                peer.switch(on=True)
            found[explaining].append(window(peer, seconds, pace, explaining))
            if explaining:
                peer.switch(on=False)
    ratios = [w["rate"] / wo["rate"] for w, wo in zip(found[True], found[False])]
    return {
        **{
            name: {
                "rate": round(median(w["rate"] for w in windows), 3),
                "latency_ms": round(median(w["latency_ms"] for w in windows), 1),
            }
            for name, windows in (("alone", found[False]), ("explained", found[True]))
        },
        "rate_ratio": round(median(ratios), 3),
        "rate_ratios": [round(r, 3) for r in ratios],
        "heatmaps": int(sum(w["heatmaps"] for w in found[True])),
    }


def main(argv: list[str] | None = None) -> None:
    """Entry of `ros_xai bench explanation-cost`."""
    parser = argparse.ArgumentParser(COMMAND, description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=12.0)
    arguments = parser.parse_args(argv)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", "77")
    clip = KittiClip(Path(os.environ["ROS_XAI_DATA"]) / "kitti")
    T = "[" + ", ".join(f"{v:.8f}" for v in np.asarray(clip.T_camera_lidar).ravel()) + "]"
    rclpy.init()
    peer = Peer(clip)
    executor = SingleThreadedExecutor()
    executor.add_node(peer)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    with (
        node("depth", ("image", "points", "camera_info"), T_camera_lidar=T, publish_sparse=True),
        node(
            "explanation",
            ("image", "depth/sparse", "camera_info"),
            on_request=True,
            region="[280, 85, 360, 130]",
        ),
    ):
        while not (
            peer.states.service_is_ready()
            and peer.explain.service_is_ready()
            and peer.wait_for(peer.send(), 3.0)
        ):
            time.sleep(0.2)
        peer.switch(on=False)
        figures = {
            pace: measure(peer, pace, arguments.rounds, arguments.seconds)
            for pace in ("saturated", "paced")
        }
    executor.shutdown()
    spinner.join()
    peer.destroy_node()
    rclpy.shutdown()
    command = f"{COMMAND} --rounds {arguments.rounds} --seconds {arguments.seconds:g}"
    results.write("explanation_cost", command, figures, images_per_second_paced=1 / PERIOD)
    print(figures)


if __name__ == "__main__":
    main()
