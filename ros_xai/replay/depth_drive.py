"""Camera frames with LiDAR out of a bag, for learning from a recorded drive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ros_xai.core.geometry import transform
from ros_xai.core.pointcloud import rings_from_elevation
from ros_xai.data.depth import DepthSample, Loaded
from ros_xai.replay.bag import Bag, BagError, Record
from ros_xai.replay.player import stamp_of
from ros_xai.replay.static_transforms import between_sensors
from ros_xai.replay.topics import assign
from ros_xai.ros import camera_info, images, pointclouds
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError

SLOP_NS = 50_000_000  # a cloud this near an image belongs to it
INPUTS = ("image", "image/compressed", "camera_info", "points")


def depth_drive(
    path: Path, beams: int = 4, max_frames: int = 600, remap: dict[str, str] | None = None
) -> Loaded:
    """The bag's images with the nearest cloud of each, rectified, at most ``max_frames``.

    ``beams`` is the sensor's number of them, for clouds without a ring field; ``remap`` names
    topics ({"image": "/camera/image"}) where the bag leaves a choice. Messages that cannot be
    decoded are left out. Raises BagError when the bag lacks a topic or the transform between
    the sensors.
    """
    bag = Bag(path)
    topics = assign(bag.topics, remap or {}, INPUTS)
    image_topic = topics.get("image") or topics.get("image/compressed")
    lacking = {"camera_info", "points"} - topics.keys()
    if image_topic is None or lacking:
        raise BagError(f"{path} lacks {', '.join(sorted(lacking)) or 'an image'}")
    T_camera_lidar = between_sensors(bag, image_topic, topics["points"])
    if T_camera_lidar is None:
        raise BagError(f"{path}: /tf_static does not connect LiDAR and camera")
    samples = []
    for image, info, cloud in _together(bag, image_topic, topics["camera_info"], topics["points"]):
        try:
            samples.append(_sample(image, info, cloud, T_camera_lidar, beams))
        except MessageError:
            continue
        if len(samples) == max_frames:
            break
    if not samples:
        raise BagError(f"{path}: no image has a cloud within {SLOP_NS / 1e6:.0f} ms")
    return Loaded(Path(path).stem, tuple(samples))


def _together(
    bag: Bag, image: str, info: str, points: str
) -> Iterator[tuple[Record, Record, Record]]:
    """Image, the last CameraInfo and the nearest cloud, in the order of the images."""
    waiting: list[tuple[int, Record]] = []
    clouds: list[tuple[int, Record]] = []
    camera: Record | None = None
    for record in bag.records():
        stamp = stamp_of(record.data)
        if stamp is None or record.topic not in (image, info, points):
            continue
        if record.topic == info:
            camera = record
            continue
        (waiting if record.topic == image else clouds).append((stamp, record))
        # Everything older than the slop before the newest cloud can be paired for good.
        newest = clouds[-1][0] if clouds else 0
        while camera is not None and waiting and waiting[0][0] <= newest - SLOP_NS:
            yield from _paired(*waiting.pop(0), camera, clouds)
        clouds = [c for c in clouds if not waiting or c[0] >= waiting[0][0] - SLOP_NS] or clouds[
            -1:
        ]
    if camera is not None:
        for stamp, record in waiting:
            yield from _paired(stamp, record, camera, clouds)


def _paired(
    stamp: int, image: Record, camera: Record, clouds: list[tuple[int, Record]]
) -> Iterator[tuple[Record, Record, Record]]:
    nearest = min(clouds, key=lambda c: abs(c[0] - stamp), default=None)
    if nearest is not None and abs(nearest[0] - stamp) <= SLOP_NS:
        yield image, camera, nearest[1]


def _sample(
    image: Record, info: Record, cloud: Record, T_camera_lidar: NDArray[np.float64], beams: int
) -> DepthSample:
    compressed = image.type.endswith("CompressedImage")
    message_type: Any = CompressedImage if compressed else Image
    pixels = images.to_rgb(decode(image.data, message_type))
    camera = camera_info.from_message(decode(info.data, CameraInfo))
    intrinsics = camera.intrinsics
    if not camera.is_rectified:
        rectifier = camera_info.rectifier(camera)
        pixels, intrinsics = rectifier(pixels), rectifier.camera.intrinsics
    structured = pointclouds.to_structured(decode(cloud.data, PointCloud2))
    xyz, finite = pointclouds.xyz(structured)
    ring = pointclouds.ring(structured)
    if ring is None:
        ring = rings_from_elevation(xyz, beams)
    points = transform(T_camera_lidar, xyz[finite]).astype(np.float32)
    return DepthSample(pixels, intrinsics, points, ring[finite].astype(np.uint8))
