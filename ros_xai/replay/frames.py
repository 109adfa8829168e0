"""Answers of the depth node beside the inputs and the ground truth they belong to."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ros_xai.core.geometry import transform
from ros_xai.core.pointcloud import sparse_depth
from ros_xai.replay.bag import Bag, Record
from ros_xai.replay.player import stamp_of
from ros_xai.ros import camera_info, images, pointclouds
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError

LATER_NS = 300_000_000  # how much later than an answer its ground truth may be recorded
KEEP_NS = 5_000_000_000  # how much later than its image an answer may come
SLOP_NS = 50_000_000  # a full sweep this near an image is its ground truth


@dataclass(frozen=True)
class Roles:
    """Topics by what they are for the evaluation; None where there is none.

    Of the bag: image, truth_depth, truth_points, and lens, the CameraInfo of the image. Of the
    outputs: depth, sparse, camera_info.
    """

    image: str | None
    truth_depth: str | None
    truth_points: str | None
    depth: str
    sparse: str
    camera_info: str
    lens: str | None = None


@dataclass(frozen=True)
class Frame:
    """One answer; arrays [H,W] of one size, rectified as the node does it.

    depth: float32 metres, NaN = unknown; sparse: float32 metres, 0 = no beam; truth: float32
    metres, 0 = unknown, None where the bag holds none; image: uint8 [H,W,3] rgb.
    """

    stamp_ns: int
    depth: NDArray[np.float32]
    sparse: NDArray[np.float32]
    image: NDArray[np.uint8] | None
    truth: NDArray[np.float32] | None


Held = dict[str, dict[int, Record]]
ANSWER, LATCHED = "answer", "latched"


def frames(
    bag: Bag,
    outputs: Bag,
    roles: Roles,
    T_camera_lidar: NDArray[np.float64] | None,
    only: Collection[int] | None = None,
) -> Iterator[Frame]:
    """All answers, or those with a stamp of `only`, in the order they were given.

    Reads both bags once, side by side. `T_camera_lidar` places full sweeps in the image.
    A message that cannot be decoded leaves its part of the frame out; an answer that cannot be
    decoded is left out itself.
    """
    topics = {
        "image": roles.image,
        "truth_depth": roles.truth_depth,
        "truth_points": roles.truth_points,
        ANSWER: roles.depth,
        "sparse": roles.sparse,
        "info": roles.camera_info,
        LATCHED: roles.lens,
    }
    lens: camera_info.Camera | None = None
    for answer, held in answered(bag, outputs, topics, only):
        lens = _camera(held[LATCHED].get(0)) or lens
        yield from _frame(answer, held, T_camera_lidar, lens)


def answered(
    bag: Bag,
    outputs: Bag,
    topics: Mapping[str, str | None],
    only: Collection[int] | None = None,
) -> Iterator[tuple[Record, Held]]:
    """Each message of the role ANSWER, in the order they were given, with what is held of the other
    roles of `topics`: messages by stamp, of its own time and shortly after. Of the role LATCHED,
    whose messages hold until the next one, the last is held, under 0."""
    held: Held = {role: {} for role in topics if role != ANSWER}
    by_topic = {topic: role for role, topic in topics.items() if topic is not None}
    answers: deque[Record] = deque()
    both = heapq.merge(bag.records(), outputs.records(), key=lambda record: record.log_ns)
    for record in both:
        while answers and record.log_ns > answers[0].log_ns + LATER_NS:
            yield answers.popleft(), held
        role = by_topic.get(record.topic)
        if role == LATCHED:
            held[role] = {0: record}
            continue
        stamp_ns = stamp_of(record.data)
        if role is None or stamp_ns is None:
            continue
        if role == ANSWER:
            if only is None or stamp_ns in only:
                answers.append(record)
        else:
            held[role][stamp_ns] = record
        _forget(held, record.log_ns - KEEP_NS)
    while answers:
        yield answers.popleft(), held


def _frame(
    answer: Record,
    held: Held,
    T_camera_lidar: NDArray[np.float64] | None,
    lens: camera_info.Camera | None,
) -> Iterator[Frame]:
    stamp_ns = stamp_of(answer.data)
    depth = decoded_image(answer)
    if stamp_ns is None or depth is None:
        return
    sparse = decoded_image(held["sparse"].get(stamp_ns))
    image = decoded_rgb(held["image"].get(stamp_ns))
    truth = decoded_image(held["truth_depth"].get(stamp_ns))
    rectify = None if lens is None or lens.is_rectified else camera_info.rectifier(lens)
    if rectify is not None:
        image = _if_possible(rectify, image)
        truth = _if_possible(rectify.nearest, truth)
    if truth is None and T_camera_lidar is not None:
        truth = _swept(held, stamp_ns, T_camera_lidar, depth.shape)
    if rectify is not None and truth is not None and truth.shape == rectify.seen.shape:
        truth = np.where(rectify.seen, truth, np.float32(0))
    yield Frame(
        stamp_ns,
        depth,
        np.zeros_like(depth) if sparse is None else np.nan_to_num(sparse),
        image,
        None if truth is None or truth.shape != depth.shape else np.nan_to_num(truth, posinf=0.0),
    )


def decoded_image(record: Record | None) -> NDArray[Any] | None:
    """The array of an Image message; None without one, or where it cannot be decoded."""
    try:
        return None if record is None else images.to_array(decode(record.data, Image))
    except MessageError:
        return None


def decoded_rgb(record: Record | None) -> NDArray[np.uint8] | None:
    """The picture [H,W,3] of an Image or CompressedImage; None without one, or where it cannot be
    decoded."""
    if record is None:
        return None
    compressed = record.type.endswith("CompressedImage")
    message_type: Any = CompressedImage if compressed else Image
    try:
        return images.to_rgb(decode(record.data, message_type))
    except MessageError:
        return None


def _camera(record: Record | None) -> camera_info.Camera | None:
    """The camera of a CameraInfo; None without one, or where it cannot be read."""
    try:
        return None if record is None else camera_info.from_message(decode(record.data, CameraInfo))
    except MessageError:
        return None


def _if_possible(
    rectify: Callable[[NDArray[Any]], NDArray[Any]], image: NDArray[Any] | None
) -> NDArray[Any] | None:
    """The rectified image; None without one, or where its size is another than the camera's."""
    try:
        return None if image is None else rectify(image)
    except MessageError:
        return None


def _swept(
    held: Held, stamp_ns: int, T_camera_lidar: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """The whole sweep nearest in time, projected into the image [H,W]."""
    camera = _camera(held["info"].get(stamp_ns))
    nearest = min(held["truth_points"], key=lambda other: abs(other - stamp_ns), default=None)
    if camera is None or nearest is None or abs(nearest - stamp_ns) > SLOP_NS:
        return None
    try:
        cloud = decode(held["truth_points"][nearest].data, PointCloud2)
        xyz, finite = pointclouds.xyz(pointclouds.to_structured(cloud))
    except MessageError:
        return None
    points_camera = transform(T_camera_lidar, xyz[finite])
    return sparse_depth(points_camera, camera.intrinsics, shape[0], shape[1])


def _forget(held: Held, before_ns: int) -> None:
    for role, records in held.items():
        if role != LATCHED and any(record.log_ns < before_ns for record in records.values()):
            held[role] = {s: r for s, r in records.items() if r.log_ns >= before_ns}
