"""Standard ROS 2 messages from arrays, as objects of rosbags' typestore; no ROS needed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ros_xai.core.geometry import quaternion_from_rotation

# Type of a channel and number of channels, as in sensor_msgs/image_encodings.hpp.
ENCODINGS: dict[str, tuple[type, int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "rgba8": (np.uint8, 4),
    "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}
# Numbers of sensor_msgs/PointField.
FIELD_TYPES = {
    np.dtype(name): number
    for number, name in enumerate(("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"), start=1)
}
CUBE, ADD = 1, 0  # type and action of visualization_msgs/Marker
MARKER_LIFETIME_NS = 500_000_000  # a track that is no longer reported vanishes from the view


@functools.cache
def typestore() -> Typestore:
    """The message definitions that bags are written with."""
    return get_typestore(Stores.ROS2_JAZZY)


def new(type_name: str, *values: Any, **fields: Any) -> Any:
    """A message of a type such as std_msgs/Header."""
    package, name = type_name.split("/")
    return typestore().types[f"{package}/msg/{name}"](*values, **fields)


@dataclass(frozen=True)
class Marker:
    """A box of a MarkerArray: `ns` is its class, `id` its track, `T` its pose [4,4] in metres."""

    id: int
    ns: str
    T: NDArray[np.float64]
    size: tuple[float, float, float]
    text: str = ""
    color: tuple[float, float, float, float] = (0.2, 0.6, 1.0, 0.6)


def stamp(stamp_ns: int) -> Any:
    """builtin_interfaces/Time of nanoseconds."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return new("builtin_interfaces/Time", sec=seconds, nanosec=nanoseconds)


def header(stamp_ns: int, frame: str) -> Any:
    """std_msgs/Header."""
    return new("std_msgs/Header", stamp=stamp(stamp_ns), frame_id=frame)


def image(stamp_ns: int, frame: str, array: NDArray[Any], encoding: str) -> Any:
    """sensor_msgs/Image of [H,W] or [H,W,C] with the type and channels that `encoding` names.

    Raises:
        ValueError: the encoding is unknown or does not fit the array.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"expected encoding one of {', '.join(ENCODINGS)}; got {encoding}")
    dtype, channels = ENCODINGS[encoding]
    given = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or array.dtype != dtype or given != channels:
        raise ValueError(
            f"{encoding}: expected {np.dtype(dtype)} [H,W] with {channels} channel(s);"
            f" got {array.dtype} {list(array.shape)}"
        )
    return new(
        "sensor_msgs/Image",
        header=header(stamp_ns, frame),
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=array.shape[1] * array.itemsize * channels,
        data=_bytes(array),
    )


def compressed(stamp_ns: int, frame: str, data: bytes, format: str) -> Any:
    """sensor_msgs/CompressedImage of JPEG or PNG bytes."""
    return new(
        "sensor_msgs/CompressedImage",
        header=header(stamp_ns, frame),
        format=format,
        data=np.frombuffer(data, np.uint8),
    )


def camera_info(
    stamp_ns: int,
    frame: str,
    intrinsics: ArrayLike,
    width: int,
    height: int,
    distortion: Sequence[float] = (),
) -> Any:
    """sensor_msgs/CameraInfo of a camera with intrinsics [3,3] in pixels.

    distortion: k1, k2, p1, p2[, k3] of plumb_bob; none: the camera is rectified.
    """
    K = np.asarray(intrinsics, dtype=np.float64)
    d = np.zeros(5)
    d[: len(distortion)] = distortion
    return new(
        "sensor_msgs/CameraInfo",
        header=header(stamp_ns, frame),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=d,
        k=K.reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([K, np.zeros((3, 1))]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=new("sensor_msgs/RegionOfInterest", 0, 0, 0, 0, False),
    )


def points(stamp_ns: int, frame: str, xyz: NDArray[np.floating], fields: dict[str, Any]) -> Any:
    """sensor_msgs/PointCloud2, unorganised and unpadded, of [N,3] metres and fields [N] each."""
    columns = dict(zip("xyz", np.asarray(xyz, dtype=np.float32).T)) | fields
    layout = np.dtype([(name, column.dtype) for name, column in columns.items()])
    cloud = np.empty(len(xyz), dtype=layout)
    for name, column in columns.items():
        cloud[name] = column
    return new(
        "sensor_msgs/PointCloud2",
        header=header(stamp_ns, frame),
        height=1,
        width=len(cloud),
        fields=[
            new("sensor_msgs/PointField", name, offset, FIELD_TYPES[dtype], 1)
            for name, (dtype, offset, *_) in (layout.fields or {}).items()
        ],
        is_bigendian=False,
        point_step=layout.itemsize,
        row_step=layout.itemsize * len(cloud),
        data=_bytes(cloud),
        is_dense=bool(np.isfinite(xyz).all()),
    )


def transforms(stamp_ns: int, records: Iterable[tuple[str, str, ArrayLike]]) -> Any:
    """tf2_msgs/TFMessage of (parent, child, T_parent_child [4,4]) each."""
    stamped = []
    for parent, child, T in records:
        translation, rotation = _translation_rotation(T)
        transform = new(
            "geometry_msgs/Transform", new("geometry_msgs/Vector3", *translation), rotation
        )
        stamped.append(
            new("geometry_msgs/TransformStamped", header(stamp_ns, parent), child, transform)
        )
    return new("tf2_msgs/TFMessage", transforms=stamped)


def odometry(
    stamp_ns: int,
    frame: str,
    child: str,
    T: ArrayLike,
    linear: Sequence[float],
    angular: Sequence[float],
) -> Any:
    """nav_msgs/Odometry: T_frame_child [4,4], velocities (m/s, rad/s) in the child's frame."""
    twist = new(
        "geometry_msgs/Twist",
        linear=new("geometry_msgs/Vector3", *map(float, linear)),
        angular=new("geometry_msgs/Vector3", *map(float, angular)),
    )
    return new(
        "nav_msgs/Odometry",
        header=header(stamp_ns, frame),
        child_frame_id=child,
        pose=new("geometry_msgs/PoseWithCovariance", pose(T), np.zeros(36)),
        twist=new("geometry_msgs/TwistWithCovariance", twist, np.zeros(36)),
    )


def markers(stamp_ns: int, frame: str, boxes: Iterable[Marker]) -> Any:
    """visualization_msgs/MarkerArray of boxes."""
    return new(
        "visualization_msgs/MarkerArray", [_marker(header(stamp_ns, frame), box) for box in boxes]
    )


def grid(
    stamp_ns: int, frame: str, array: NDArray[np.int8], resolution: float, origin: ArrayLike
) -> Any:
    """nav_msgs/OccupancyGrid of int8 [H,W] (-1 unknown, 0..100), `resolution` metres per cell.

    Cell [0,0] lies at `origin`, a pose [4,4] or a position (x, y[, z]); columns run along x, rows
    along y.
    """
    place = np.asarray(origin, dtype=np.float64)
    if place.shape != (4, 4):
        T = np.eye(4)
        T[: place.size, 3] = place
        place = T
    return new(
        "nav_msgs/OccupancyGrid",
        header=header(stamp_ns, frame),
        info=new(
            "nav_msgs/MapMetaData",
            map_load_time=stamp(stamp_ns),
            resolution=float(resolution),
            width=array.shape[1],
            height=array.shape[0],
            origin=pose(place),
        ),
        data=np.ascontiguousarray(array, dtype=np.int8).reshape(-1),
    )


def pose(T: ArrayLike) -> Any:
    """geometry_msgs/Pose of a transform [4,4] in metres."""
    translation, rotation = _translation_rotation(T)
    return new("geometry_msgs/Pose", new("geometry_msgs/Point", *translation), rotation)


def _translation_rotation(T: ArrayLike) -> tuple[list[float], Any]:
    matrix = np.asarray(T, dtype=np.float64)
    quaternion = quaternion_from_rotation(matrix[:3, :3])
    rotation = new("geometry_msgs/Quaternion", *map(float, quaternion))
    return [float(value) for value in matrix[:3, 3]], rotation


def _marker(at: Any, box: Marker) -> Any:
    nothing = np.zeros(0, np.uint8)
    return new(
        "visualization_msgs/Marker",
        header=at,
        ns=box.ns,
        id=box.id,
        type=CUBE,
        action=ADD,
        pose=pose(box.T),
        scale=new("geometry_msgs/Vector3", *map(float, box.size)),
        color=new("std_msgs/ColorRGBA", *map(float, box.color)),
        lifetime=new("builtin_interfaces/Duration", 0, MARKER_LIFETIME_NS),
        frame_locked=False,
        points=[],
        colors=[],
        texture_resource="",
        texture=new("sensor_msgs/CompressedImage", header(0, ""), "", nothing),
        uv_coordinates=[],
        text=box.text,
        mesh_resource="",
        mesh_file=new("visualization_msgs/MeshFile", "", nothing),
        mesh_use_embedded_materials=False,
    )


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array's memory as flat bytes; bags are little endian as the machines they are made on."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
