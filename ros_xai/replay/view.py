"""A bag as a Rerun recording: images, depth, clouds, boxes, maps, transforms, latencies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rerun as rr
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ros_xai.replay.bag import Bag, DecodeError, Record
from ros_xai.ros import camera_info, images, pointclouds
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError

TIMELINE = "bag"
_PLANE = "/image"  # after a camera's frame: its image plane, which pictures are logged in
_CUBE, _LINE_STRIP = 1, 4  # visualization_msgs/Marker
_HEAT = "heatmap"

Logged = Iterator[tuple[str, Any]]  # entity path, archetype


def log_bag(bag: Bag, recording: Any, seen: Callable[[], None] = lambda: None) -> dict[str, int]:
    """Logs every message of a known type, at its time of recording; `seen` is called after each.

    Returns how many messages of each topic are shown; those that cannot be decoded are not.
    """
    shown: dict[str, int] = {}
    for record in bag.records():
        show = _SHOWN.get(record.type)
        if show is not None:
            recording.set_time(TIMELINE, timestamp=record.log_ns * 1e-9)
            try:
                for path, archetype in show(bag, record):
                    recording.log(path, archetype, static=record.topic == "/tf_static")
                shown[record.topic] = shown.get(record.topic, 0) + 1
            except (MessageError, DecodeError):
                shown.setdefault(record.topic, 0)
        seen()
    return shown


def _image(bag: Bag, record: Record) -> Logged:
    message = decode(record.data, Image)
    yield record.topic, rr.CoordinateFrame(message.header.frame_id + _PLANE)
    pixels = images.to_array(message)
    if pixels.dtype == np.float32 and record.topic.endswith(_HEAT):
        yield record.topic, rr.Image(_heat(pixels))
    elif pixels.dtype == np.float32:
        yield record.topic, rr.DepthImage(np.nan_to_num(pixels, posinf=0.0), meter=1.0)
    elif pixels.dtype == np.uint16:
        yield record.topic, rr.DepthImage(pixels, meter=1000.0)
    elif message.encoding == "mono8" and record.topic.endswith("labels"):
        yield record.topic, rr.SegmentationImage(pixels)
    else:
        yield record.topic, rr.Image(images.to_rgb(message))


def _heat(values: Any) -> Any:
    """Black over red and yellow to white, by the share of the largest value."""
    share = np.clip(np.nan_to_num(values) / max(float(np.nanmax(values)), 1e-9), 0, 1)
    return (255 * np.clip(3 * share[..., None] - np.arange(3), 0, 1)).astype(np.uint8)


def _compressed(bag: Bag, record: Record) -> Logged:
    message = decode(record.data, CompressedImage)
    yield record.topic, rr.CoordinateFrame(message.header.frame_id + _PLANE)
    kind = "png" if "png" in message.format else "jpeg"
    yield record.topic, rr.EncodedImage(contents=bytes(message.data), media_type=f"image/{kind}")


def _camera_info(bag: Bag, record: Record) -> Logged:
    message = decode(record.data, CameraInfo)
    camera = camera_info.from_message(message)
    frame = message.header.frame_id
    yield (
        record.topic,
        rr.Pinhole(
            image_from_camera=camera.intrinsics,
            resolution=[camera.width, camera.height],
            camera_xyz=rr.ViewCoordinates.RDF,
            parent_frame=frame,
            child_frame=frame + _PLANE,
        ),
    )


def _points(bag: Bag, record: Record) -> Logged:
    message = decode(record.data, PointCloud2)
    structured = pointclouds.to_structured(message).reshape(-1)
    xyz, finite = pointclouds.xyz(structured)
    colours = None
    if "rgb" in (structured.dtype.names or ()) and finite.any():
        packed = np.ascontiguousarray(structured["rgb"], np.float32)[finite].view(np.uint32)
        colours = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
    yield record.topic, rr.CoordinateFrame(message.header.frame_id)
    yield record.topic, rr.Points3D(xyz[finite], colors=colours, radii=-1.5)  # -: in pixels


def _markers(bag: Bag, record: Record) -> Logged:
    markers = [m for m in bag.decode(record).markers if m.action == 0]
    if not markers:
        return
    yield record.topic, rr.CoordinateFrame(markers[0].header.frame_id)
    if cubes := [m for m in markers if m.type == _CUBE]:
        yield (
            f"{record.topic}/boxes",
            rr.Boxes3D(
                centers=[_xyz(m.pose.position) for m in cubes],
                half_sizes=[_xyz(m.scale) / 2 for m in cubes],
                quaternions=[[getattr(m.pose.orientation, axis) for axis in "xyzw"] for m in cubes],
                labels=[f"{m.ns} {m.id}" for m in cubes],
                colors=[_rgba(m.color) for m in cubes],
                show_labels=False,
            ),
        )
        yield f"{record.topic}/boxes", rr.CoordinateFrame(cubes[0].header.frame_id)
    if lines := [m for m in markers if m.type == _LINE_STRIP and len(m.points) > 1]:
        strips = [np.array([_xyz(point) for point in m.points]) for m in lines]
        yield (
            f"{record.topic}/lines",
            rr.LineStrips3D(strips, colors=[_rgba(m.color) for m in lines]),
        )
        yield f"{record.topic}/lines", rr.CoordinateFrame(lines[0].header.frame_id)


def _grid(bag: Bag, record: Record) -> Logged:
    """An OccupancyGrid as a textured rectangle; 100 is black, 0 white, unknown grey."""
    message = bag.decode(record)
    info = message.info
    cells = np.asarray(message.data, np.int16).reshape(info.height, info.width)
    grey = np.where(cells < 0, 128, 255 - np.clip(cells, 0, 100) * 255 // 100).astype(np.uint8)
    x, y, z = _xyz(info.origin.position)
    right, far = x + info.width * info.resolution, y + info.height * info.resolution
    yield record.topic, rr.CoordinateFrame(message.header.frame_id)
    yield (
        record.topic,
        rr.Mesh3D(
            vertex_positions=[[x, y, z], [right, y, z], [right, far, z], [x, far, z]],
            triangle_indices=[[0, 1, 2], [0, 2, 3]],
            vertex_texcoords=[[0, 0], [1, 0], [1, 1], [0, 1]],
            albedo_texture=np.repeat(grey[..., None], 3, axis=2),
        ),
    )


def _transforms(bag: Bag, record: Record) -> Logged:
    for each in bag.decode(record).transforms:
        turn = each.transform.rotation
        yield (
            f"{record.topic}/{each.child_frame_id}",
            rr.Transform3D(
                translation=_xyz(each.transform.translation),
                quaternion=[turn.x, turn.y, turn.z, turn.w],
                parent_frame=each.header.frame_id,
                child_frame=each.child_frame_id,
            ),
        )


def _latency(bag: Bag, record: Record) -> Logged:
    """The stages of ~/latency as curves, milliseconds."""
    if not record.topic.endswith("/latency"):
        return
    for status in bag.decode(record).status:
        for stage in status.values:
            yield f"{record.topic}/{stage.key}", rr.Scalars(float(stage.value))


def _xyz(vector: Any) -> Any:
    return np.array([vector.x, vector.y, vector.z])


def _rgba(color: Any) -> list[float]:
    return [color.r, color.g, color.b, color.a]


_SHOWN: dict[str, Callable[[Bag, Record], Logged]] = {
    "sensor_msgs/msg/Image": _image,
    "sensor_msgs/msg/CompressedImage": _compressed,
    "sensor_msgs/msg/CameraInfo": _camera_info,
    "sensor_msgs/msg/PointCloud2": _points,
    "visualization_msgs/msg/MarkerArray": _markers,
    "nav_msgs/msg/OccupancyGrid": _grid,
    "tf2_msgs/msg/TFMessage": _transforms,
    "diagnostic_msgs/msg/DiagnosticArray": _latency,
}
