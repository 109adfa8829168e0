"""Arrays in, one MCAP bag out that rosbag2, rosbags and Foxglove read; no ROS needed.

Same calls, same bytes: the file holds no date, no host and no library version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import ArrayLike, NDArray
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ros_xai.core.geometry import quaternion_from_rotation

# Bytes of a pixel and number of channels, per encoding of sensor_msgs/image_encodings.hpp.
ENCODINGS = {
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

# rosbag2's description of QoS; integers are read by every distribution, names only since Jazzy.
QOS = """- history: 1
  depth: {depth}
  reliability: 1
  durability: {durability}
  deadline: {{sec: 0, nsec: 0}}
  lifespan: {{sec: 0, nsec: 0}}
  liveliness: 0
  liveliness_lease_duration: {{sec: 0, nsec: 0}}
  avoid_ros_namespace_conventions: false
"""
QOS_VOLATILE = QOS.format(depth=10, durability=2)
QOS_LATCHED = QOS.format(depth=100, durability=1)  # transient local: late subscribers get it


@dataclass(frozen=True)
class Marker:
    """A box of a MarkerArray: `ns` is its class, `id` its track, `T` its pose [4,4] in metres."""

    id: int
    ns: str
    T: NDArray[np.float64]
    size: tuple[float, float, float]
    text: str = ""
    color: tuple[float, float, float, float] = (0.2, 0.6, 1.0, 0.6)


class BagWriter:
    """Writes a bag to `path` (.mcap); as a context manager the file appears only when complete.

    Stamps are nanoseconds; `log_ns`, the time of recording, is the stamp where not given. An
    exception inside the `with` block removes the unfinished file.
    """

    def __init__(self, path: Path | str, compress: bool = True) -> None:
        self.path = Path(path)
        self.typestore: Typestore = get_typestore(Stores.ROS2_JAZZY)
        self._types = self.typestore.types
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[int, str]] = {}
        self._sequence: dict[str, int] = {}
        self._part = self.path.with_name(self.path.name + ".part")
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._writer = Writer(self._file, compression=compression)
        self._writer.start(profile="ros2", library="ros_xai")

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def close(self) -> None:
        """Write the index and move the finished file to `path`."""
        self._writer.finish()
        self._file.close()
        self._part.replace(self.path)

    def image(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        array: NDArray[Any],
        encoding: str,
        log_ns: int | None = None,
    ) -> None:
        """An image [H,W] or [H,W,C] of the dtype and channels that `encoding` names.

        Raises:
            ValueError: the encoding is unknown or does not fit the array.
        """
        if encoding not in ENCODINGS:
            raise ValueError(f"expected encoding one of {', '.join(ENCODINGS)}; got {encoding}")
        dtype, channels = ENCODINGS[encoding]
        given = array.shape[2] if array.ndim == 3 else 1
        if array.ndim not in (2, 3) or array.dtype != dtype or given != channels:
            raise ValueError(
                f"{encoding} on {topic}: expected {np.dtype(dtype)} [H,W] with {channels} channels;"
                f" got {array.dtype} {list(array.shape)}"
            )
        self._send(
            "sensor_msgs/msg/Image",
            topic,
            stamp_ns,
            log_ns,
            header=self._header(stamp_ns, frame),
            height=array.shape[0],
            width=array.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=array.shape[1] * array.itemsize * channels,
            data=_bytes(array),
        )

    def compressed(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        data: bytes,
        format: str = "jpeg",
        log_ns: int | None = None,
    ) -> None:
        """An encoded image (JPEG, PNG) as sensor_msgs/CompressedImage."""
        self._send(
            "sensor_msgs/msg/CompressedImage",
            topic,
            stamp_ns,
            log_ns,
            header=self._header(stamp_ns, frame),
            format=format,
            data=np.frombuffer(data, np.uint8),
        )

    def camera_info(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        intrinsics: ArrayLike,
        width: int,
        height: int,
        log_ns: int | None = None,
    ) -> None:
        """The CameraInfo of a rectified camera with intrinsics [3,3] in pixels."""
        K = np.asarray(intrinsics, dtype=np.float64)
        self._send(
            "sensor_msgs/msg/CameraInfo",
            topic,
            stamp_ns,
            log_ns,
            header=self._header(stamp_ns, frame),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=K.reshape(9),
            r=np.eye(3).reshape(9),
            p=np.hstack([K, np.zeros((3, 1))]).reshape(12),
            binning_x=0,
            binning_y=0,
            roi=self._types["sensor_msgs/msg/RegionOfInterest"](
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )

    def points(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        xyz: NDArray[np.floating],
        log_ns: int | None = None,
        **fields: NDArray[Any],
    ) -> None:
        """A cloud [N,3] in metres with more fields of length N (ring, intensity, ...)."""
        columns = dict(zip("xyz", np.asarray(xyz, dtype=np.float32).T)) | fields
        # A record per point, without padding: what `np.concatenate` cannot do across types.
        layout = np.dtype([(name, column.dtype) for name, column in columns.items()])
        cloud = np.empty(len(xyz), dtype=layout)
        for name, column in columns.items():
            cloud[name] = column
        point_field = self._types["sensor_msgs/msg/PointField"]
        self._send(
            "sensor_msgs/msg/PointCloud2",
            topic,
            stamp_ns,
            log_ns,
            header=self._header(stamp_ns, frame),
            height=1,
            width=len(cloud),
            fields=[
                point_field(
                    name=name, offset=offset, datatype=FIELD_TYPES[dtype.newbyteorder("=")], count=1
                )
                for name, (dtype, offset) in (layout.fields or {}).items()
            ],
            is_bigendian=False,
            point_step=layout.itemsize,
            row_step=layout.itemsize * len(cloud),
            data=_bytes(cloud),
            is_dense=bool(np.isfinite(xyz).all()),
        )

    def transforms(
        self,
        topic: str,
        stamp_ns: int,
        transforms: Iterable[tuple[str, str, ArrayLike]],
        log_ns: int | None = None,
    ) -> None:
        """(parent, child, T_parent_child [4,4]) each; latched on a topic named tf_static."""
        records = []
        for parent, child, T in transforms:
            translation, rotation = self._pose_parts(T)
            records.append(
                self._types["geometry_msgs/msg/TransformStamped"](
                    header=self._header(stamp_ns, parent),
                    child_frame_id=child,
                    transform=self._types["geometry_msgs/msg/Transform"](
                        translation=self._types["geometry_msgs/msg/Vector3"](**translation),
                        rotation=rotation,
                    ),
                )
            )
        self._send(
            "tf2_msgs/msg/TFMessage",
            topic,
            stamp_ns,
            log_ns,
            latched=topic.endswith("tf_static"),
            transforms=records,
        )

    def odometry(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        child: str,
        T: ArrayLike,
        linear: Sequence[float],
        angular: Sequence[float],
        log_ns: int | None = None,
    ) -> None:
        """Pose T_frame_child [4,4]; velocities (m/s, rad/s) in the child's frame (REP-105)."""
        vector = self._types["geometry_msgs/msg/Vector3"]
        twist = self._types["geometry_msgs/msg/Twist"](
            linear=vector(*map(float, linear)), angular=vector(*map(float, angular))
        )
        self._send(
            "nav_msgs/msg/Odometry",
            topic,
            stamp_ns,
            log_ns,
            header=self._header(stamp_ns, frame),
            child_frame_id=child,
            pose=self._types["geometry_msgs/msg/PoseWithCovariance"](
                pose=self._pose(T), covariance=np.zeros(36)
            ),
            twist=self._types["geometry_msgs/msg/TwistWithCovariance"](
                twist=twist, covariance=np.zeros(36)
            ),
        )

    def markers(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        markers: Iterable[Marker],
        log_ns: int | None = None,
    ) -> None:
        """Boxes as a MarkerArray; a box that is not repeated vanishes after half a second."""
        build = self._types["visualization_msgs/msg/Marker"]
        compressed_image = self._types["sensor_msgs/msg/CompressedImage"]
        records = [
            build(
                header=self._header(stamp_ns, frame),
                ns=marker.ns,
                id=marker.id,
                type=build.CUBE,
                action=build.ADD,
                pose=self._pose(marker.T),
                scale=self._types["geometry_msgs/msg/Vector3"](*map(float, marker.size)),
                color=self._types["std_msgs/msg/ColorRGBA"](*map(float, marker.color)),
                lifetime=self._types["builtin_interfaces/msg/Duration"](0, 500_000_000),
                frame_locked=False,
                points=[],
                colors=[],
                texture_resource="",
                texture=compressed_image(self._header(0, ""), "", np.zeros(0, np.uint8)),
                uv_coordinates=[],
                text=marker.text,
                mesh_resource="",
                mesh_file=self._types["visualization_msgs/msg/MeshFile"]("", np.zeros(0, np.uint8)),
                mesh_use_embedded_materials=False,
            )
            for marker in markers
        ]
        self._send("visualization_msgs/msg/MarkerArray", topic, stamp_ns, log_ns, markers=records)

    def grid(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        array: NDArray[np.int8],
        resolution: float,
        origin: ArrayLike,
        log_ns: int | None = None,
    ) -> None:
        """An OccupancyGrid int8 [H,W] (-1 unknown, 0..100), latched.

        Cell [0,0] lies at `origin`, a pose [4,4] or a position (x, y); columns run along x, rows
        along y; `resolution` is metres per cell.
        """
        place = np.asarray(origin, dtype=np.float64)
        if place.shape != (4, 4):
            T = np.eye(4)
            T[: place.size, 3] = place
            place = T
        stamp = self._stamp(stamp_ns)
        self._send(
            "nav_msgs/msg/OccupancyGrid",
            topic,
            stamp_ns,
            log_ns,
            latched=True,
            header=self._header(stamp_ns, frame),
            info=self._types["nav_msgs/msg/MapMetaData"](
                map_load_time=stamp,
                resolution=float(resolution),
                width=array.shape[1],
                height=array.shape[0],
                origin=self._pose(place),
            ),
            data=np.ascontiguousarray(array, dtype=np.int8).reshape(-1),
        )

    def message(
        self,
        topic: str,
        stamp_ns: int,
        message: Any,
        log_ns: int | None = None,
        latched: bool = False,
    ) -> None:
        """A message object of `self.typestore`."""
        name = message.__msgtype__
        data = bytes(self.typestore.serialize_cdr(message, name))
        self.cdr(topic, name, data, stamp_ns if log_ns is None else log_ns, latched=latched)

    def cdr(
        self, topic: str, type_name: str, data: bytes, log_ns: int, latched: bool = False
    ) -> None:
        """A serialised message of a type such as sensor_msgs/msg/Image, written as it is.

        Raises:
            ValueError: the topic already holds another type.
        """
        if topic not in self._channels:
            self._channels[topic] = self._register(topic, type_name, latched), type_name
        channel, known = self._channels[topic]
        if known != type_name:
            raise ValueError(f"{topic} holds {known}; got {type_name}: use another topic")
        self._sequence[topic] = self._sequence.get(topic, -1) + 1
        self._writer.add_message(channel, log_ns, data, log_ns, self._sequence[topic])

    def _register(self, topic: str, type_name: str, latched: bool) -> int:
        if type_name not in self._schemas:
            definition, _ = self.typestore.generate_msgdef(type_name, ros_version=2)
            self._schemas[type_name] = self._writer.register_schema(
                type_name, "ros2msg", definition.encode()
            )
        metadata = {
            "offered_qos_profiles": QOS_LATCHED if latched else QOS_VOLATILE,
            "topic_type_hash": self.typestore.hash_rihs01(type_name),
        }
        return self._writer.register_channel(topic, "cdr", self._schemas[type_name], metadata)

    def _send(
        self,
        type_name: str,
        topic: str,
        stamp_ns: int,
        log_ns: int | None,
        latched: bool = False,
        **values: Any,
    ) -> None:
        self.message(topic, stamp_ns, self._types[type_name](**values), log_ns, latched)

    def _stamp(self, stamp_ns: int) -> Any:
        seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
        return self._types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)

    def _header(self, stamp_ns: int, frame: str) -> Any:
        return self._types["std_msgs/msg/Header"](stamp=self._stamp(stamp_ns), frame_id=frame)

    def _pose_parts(self, T: ArrayLike) -> tuple[dict[str, float], Any]:
        matrix = np.asarray(T, dtype=np.float64)
        x, y, z, w = map(float, quaternion_from_rotation(matrix[:3, :3]))
        rotation = self._types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w)
        return dict(zip("xyz", map(float, matrix[:3, 3]))), rotation

    def _pose(self, T: ArrayLike) -> Any:
        position, orientation = self._pose_parts(T)
        return self._types["geometry_msgs/msg/Pose"](
            position=self._types["geometry_msgs/msg/Point"](**position), orientation=orientation
        )


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array's memory as flat bytes, little endian."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)
