"""Metric depth of every image, from the image and a few LiDAR beams (LiDARTouch)."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ros_xai.core.beams import SilentBeams
from ros_xai.core.geometry import transform
from ros_xai.core.pointcloud import keep_rings, rings_from_elevation, sparse_depth
from ros_xai.depth.estimator import SHIPPED, DepthEstimator
from ros_xai.engines.bundle import read_bundle
from ros_xai.engines.compile import ENGINE_NAMES
from ros_xai.nodes.camera import listen_to_images, rectified
from ros_xai.nodes.depth_config import DepthConfig
from ros_xai.nodes.host import run
from ros_xai.ros import camera_info, images, pointclouds
from ros_xai.ros.camera_info import Camera, rectifier
from ros_xai.ros.compat import LIVE_TF, tf2_ros
from ros_xai.ros.diagnostics import SUPERSEDED, Finding
from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pairing import Pairing
from ros_xai.ros.pipeline import Arrival, Frame
from ros_xai.ros.synchronizers import nanoseconds
from ros_xai.ros.transforms import to_matrix


@dataclass(frozen=True)
class Cloud:
    """Finite points [N,3] in metres of the LiDAR's frame; ring [N] where the driver gives it, then
    the points are those of the chosen beams."""

    frame_id: str
    xyz: NDArray[np.float32]
    ring: NDArray[np.int64] | None


@dataclass(frozen=True)
class DepthInputs:
    """What one answer is made of."""

    rgb: NDArray[np.uint8]
    camera: Camera
    cloud: Cloud | None


class DepthNode(PerceptionNode[DepthConfig, DepthInputs]):
    """`image`, `camera_info` and `points` in, `depth/image` and `depth/camera_info` out."""

    _transforms: Any = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__("depth", "image", DepthConfig, **arguments)

    def load(self, config: DepthConfig) -> dict[str, str]:
        """Loads the network and makes the outputs."""
        self._lock = threading.Lock()  # of what the executor's threads share
        self._camera: Camera | None = None
        self._pairing: Pairing[tuple[Arrival, NDArray[np.uint8]], Cloud] = Pairing(
            ("image", "points"),
            lambda: self.config.times,
            lambda reason: self.pipeline.drop(*reason.split(".", 1)),
        )
        self._without_lidar = 0
        self._pixels_hit: int | None = None
        self._beams = SilentBeams()
        weights = Path(config.weights) if config.weights else SHIPPED
        self._estimator: DepthEstimator | None = DepthEstimator.load(
            weights, config.engine, config.threads, config.max_pixels
        )
        self._depth = self.output(Image, "depth/image")
        self._depth_camera = self.output(CameraInfo, "depth/camera_info")
        self._points = self.output(PointCloud2, "depth/points")
        self._sparse = self.output(Image, "depth/sparse")
        self._listen_to_transforms()
        if config.engine in ENGINE_NAMES:
            digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        else:
            weights = Path(config.engine)
            digest = read_bundle(weights).digest
        return {"model": f"{weights.name} {digest[:12]}", "engine": self._estimator.engine.name}

    def connect(self) -> None:
        """Subscribes to the camera and the LiDAR."""
        listen_to_images(self, "image", self._on_image)
        self.listen(CameraInfo, "camera_info", "camera_info", self._on_camera_info)
        self.listen(PointCloud2, "points", "points", self._on_points)

    def unload(self) -> None:
        """Frees the network."""
        self._estimator = None

    def waiting(self) -> int:
        """Images that wait for their cloud or the first camera_info."""
        with self._lock:
            return len(self._pairing)

    def forget(self, why: str) -> None:
        """Drops the images that wait, and what is known of the time line."""
        with self._lock:
            self._pairing.reset(why)

    def findings(self) -> Iterator[Finding]:
        """Whether the LiDAR is of use."""
        if self._without_lidar:
            yield Finding(
                "warn", f"camera only: no points for the last {self._without_lidar} images"
            )
        elif silent := self._beams.silent():
            named = ", ".join(map(str, silent[:8])) + (", ..." if len(silent) > 8 else "")
            yield Finding(
                "warn",
                f"{len(silent)} of {self._beams.expected()} beams silent: rings {named}; "
                "depth rests on the others and the camera",
            )
        if self._pixels_hit == 0:
            yield Finding("warn", "no point falls into the image: check rings and T_camera_lidar")

    # Inputs, in the executor's threads

    def _on_image(self, arrival: Arrival) -> None:
        # Converted here and not by the worker: a bad image must not take a good one's place.
        with arrival.stages("decode"):
            rgb = arrival.converted(images.to_rgb)
        with self._lock:
            self._pairing.add_trigger(nanoseconds(arrival.message.header.stamp), (arrival, rgb))
        self._advance()

    def _on_camera_info(self, arrival: Arrival) -> None:
        camera = camera_info.from_message(arrival.message)
        with self._lock:
            self._camera = camera
        self._advance()

    def _on_points(self, arrival: Arrival) -> None:
        structured = pointclouds.to_structured(arrival.message).reshape(-1)
        ring = pointclouds.ring(structured)
        if not len(structured):
            self.pipeline.drop("points", "empty", "expected points; got a cloud without any")
            return
        # Before all else, for a scanner has many more beams than are used; points without a ring
        # are left to the worker.
        if ring is not None and self.config.rings:
            chosen = keep_rings(ring, self.config.rings)
            structured, ring = structured[chosen], ring[chosen]
        xyz, finite = pointclouds.xyz(structured)
        if len(xyz) and not finite.any():
            text = f"none of {len(xyz)} points is a return: all are not finite, or 0 0 0"
            self.pipeline.drop("points", "not_finite", text)
            return
        if not finite.all():
            self.monitor.note("points.not_finite", int((~finite).sum()))
            xyz, ring = xyz[finite], None if ring is None else ring[finite]
        header = arrival.message.header
        with self._lock:
            self._pairing.add_partner(nanoseconds(header.stamp), Cloud(header.frame_id, xyz, ring))
        self._advance()

    def _advance(self) -> None:
        """Hands over the images whose cloud is decided, once the camera is known."""
        with self._lock:
            camera = self._camera
            if camera is None:
                self._pairing.expire("no_camera_info")
                return
            ready = self._pairing.take()
        if self.config.lidar_required:
            for _ in [cloud for _, cloud in ready if cloud is None]:
                self.pipeline.drop("image", "no_points")
            ready = [pair for pair in ready if pair[1] is not None]
        # Of several the newest at once, or it would hang on the worker's pace which are answered.
        for _ in ready[:-1]:
            self.pipeline.drop("image", SUPERSEDED)
        for (arrival, rgb), cloud in ready[-1:]:
            self.pipeline.submit(arrival, DepthInputs(rgb, camera, cloud))

    def _listen_to_transforms(self) -> None:
        # Kept over clean-ups: the distribution's listener cannot be ended before its node.
        if not LIVE_TF or self._transforms is not None:
            return
        buffer = tf2_ros.Buffer()
        try:
            self._transform_listener = tf2_ros.TransformListener(buffer, self)
        except RuntimeError as error:
            self.get_logger().warning(str(error))
        else:
            self._transforms = buffer

    # Work, in the worker's thread

    def process(self, frame: Frame[DepthInputs]) -> None:
        """Answers one image."""
        config, inputs, stages = self.config, frame.payload, frame.stages
        estimator = self._estimator
        assert estimator is not None  # the worker runs between load and unload only
        with stages("preprocess"):
            rgb, camera = rectified(inputs.rgb, inputs.camera)
            sparse = self._projected(inputs.cloud, camera, frame.header.frame_id, config)
        with stages("inference"):
            depth = estimator(rgb, sparse, camera.intrinsics)
        with stages("postprocess"):
            known = (depth > 0) & (depth < np.inf)
            if not inputs.camera.is_rectified:
                known &= rectifier(inputs.camera).seen
            if not known.all():
                depth = np.where(known, depth, np.float32(np.nan))
            answer = images.to_message(depth, "32FC1", frame.header)
        with stages("publish"):
            self.publish(self._depth, answer)
            self.publish(self._depth_camera, camera_info.to_message(camera, frame.header))
        # What people and explanations look at comes after the answer, which others wait for.
        with stages("extras"):
            if config.publish_points and self.heard(self._points):
                points = pointclouds.coloured(
                    depth, rgb, camera.intrinsics, config.points_stride, frame.header
                )
                self.publish(self._points, points)
            if config.publish_sparse and self.heard(self._sparse):
                beams = np.where(sparse > 0, sparse, np.float32(np.nan))
                self.publish(self._sparse, images.to_message(beams, "32FC1", frame.header))

    def _projected(
        self, cloud: Cloud | None, camera: Camera, camera_frame: str, config: DepthConfig
    ) -> NDArray[np.float32]:
        """The chosen beams as a depth image [H,W] in metres, 0 where none falls."""
        if cloud is None:
            self._without_lidar += 1
            self._pixels_hit = None
            return np.zeros((camera.height, camera.width), np.float32)
        self._without_lidar = 0
        xyz, ring = cloud.xyz, cloud.ring
        if ring is None and config.rings:
            ring = rings_from_elevation(xyz, config.beams)
            chosen = keep_rings(ring, config.rings)
            xyz, ring = xyz[chosen], ring[chosen]
        if ring is not None:
            self._beams.see(ring, config.rings)
        T_camera_lidar = self._T_camera_lidar(camera_frame, cloud.frame_id, config)
        sparse = sparse_depth(
            transform(T_camera_lidar, xyz), camera.intrinsics, camera.height, camera.width
        )
        self._pixels_hit = int(np.count_nonzero(sparse))
        return sparse

    def _T_camera_lidar(self, camera_frame: str, lidar_frame: str, config: DepthConfig) -> Any:
        if config.T_camera_lidar:
            return np.reshape(config.T_camera_lidar, (4, 4))
        if camera_frame == lidar_frame:
            return np.eye(4)
        if self._transforms is None:
            raise MessageError(
                "bad_transform",
                f"no transform from {lidar_frame!r} to {camera_frame!r}: /tf_static needs "
                "tf2_msgs; install it, or set the parameter T_camera_lidar (16 numbers, row-major)",
            )
        try:
            found = self._transforms.lookup_transform(camera_frame, lidar_frame, Time())
        except tf2_ros.TransformException as error:
            raise MessageError(
                "bad_transform", f"{error}; publish it on /tf_static or set T_camera_lidar"
            ) from error
        return to_matrix(found)


def main(args: list[str] | None = None) -> None:
    """Runs the node until it is told to stop."""
    sys.exit(run([DepthNode], args))


if __name__ == "__main__":
    main()
