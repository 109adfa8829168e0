"""Arrays in, one MCAP bag out that rosbag2, rosbags and Foxglove read; no ROS needed.

Same calls, same bytes: the file holds no date, no host and no version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import ArrayLike, NDArray

from ros_xai.world import bag_messages
from ros_xai.world.bag_messages import Marker

__all__ = ["BagWriter", "Marker"]

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
QOS_LATCHED = QOS.format(depth=100, durability=1)  # transient local: late subscribers get it too


class BagWriter:
    """Writes a bag to `path` (.mcap); as a context manager the file appears only when complete.

    Stamps are nanoseconds; `log_ns`, the time of recording, is the stamp where not given. An
    exception inside the `with` block removes the unfinished file.

    Raises:
        ValueError: the path does not end in .mcap, by which readers know what a file is.
    """

    def __init__(self, path: Path | str, compress: bool = True) -> None:
        self.path = Path(path)
        if self.path.suffix != ".mcap":
            raise ValueError(f"expected a bag to write that ends in .mcap; got {path}")
        self.typestore = bag_messages.typestore()
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[int, str]] = {}
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
        """An image [H,W] or [H,W,C]; raises ValueError where the encoding does not fit it."""
        self.message(topic, stamp_ns, bag_messages.image(stamp_ns, frame, array, encoding), log_ns)

    def compressed(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        data: bytes,
        format: str = "jpeg",
        log_ns: int | None = None,
    ) -> None:
        """An encoded image (JPEG, PNG)."""
        self.message(
            topic, stamp_ns, bag_messages.compressed(stamp_ns, frame, data, format), log_ns
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
        distortion: Sequence[float] = (),
    ) -> None:
        """A camera with intrinsics [3,3] in pixels; rectified unless `distortion` is given."""
        info = bag_messages.camera_info(stamp_ns, frame, intrinsics, width, height, distortion)
        self.message(topic, stamp_ns, info, log_ns)

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
        self.message(topic, stamp_ns, bag_messages.points(stamp_ns, frame, xyz, fields), log_ns)

    def transforms(
        self,
        topic: str,
        stamp_ns: int,
        transforms: Iterable[tuple[str, str, ArrayLike]],
        log_ns: int | None = None,
    ) -> None:
        """(parent, child, T_parent_child [4,4]) each; latched on a topic named tf_static."""
        message = bag_messages.transforms(stamp_ns, transforms)
        self.message(topic, stamp_ns, message, log_ns, latched=topic.endswith("tf_static"))

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
        message = bag_messages.odometry(stamp_ns, frame, child, T, linear, angular)
        self.message(topic, stamp_ns, message, log_ns)

    def markers(
        self,
        topic: str,
        stamp_ns: int,
        frame: str,
        markers: Iterable[Marker],
        log_ns: int | None = None,
    ) -> None:
        """Boxes as a MarkerArray: ns = class, id = track."""
        self.message(topic, stamp_ns, bag_messages.markers(stamp_ns, frame, markers), log_ns)

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
        """An OccupancyGrid int8 [H,W], latched; see `bag_messages.grid`."""
        message = bag_messages.grid(stamp_ns, frame, array, resolution, origin)
        self.message(topic, stamp_ns, message, log_ns, latched=True)

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
        self.cdr(topic, name, data, stamp_ns if log_ns is None else log_ns, latched)

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
        self._writer.add_message(channel, log_ns, data, publish_time=log_ns)

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
