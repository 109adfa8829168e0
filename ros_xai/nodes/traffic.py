"""Tracks and a map as they come, for the node that forecasts and the one that explains it."""

from __future__ import annotations

import importlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from std_msgs.msg import Header

from ros_xai.data import argoverse2, lanelet2
from ros_xai.data.forecasting import Tracks, VectorMap, vector_map
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.forecasting.tracks import BufferConfig, TrackBuffers
from ros_xai.nodes.traffic_config import TrafficConfig
from ros_xai.ros import maps, qos, tracks
from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival
from ros_xai.ros.synchronizers import nanoseconds

INPUTS = {
    "markers": ("visualization_msgs", "MarkerArray", tracks.from_markers),
    "detections": ("vision_msgs", "Detection3DArray", tracks.from_detections),
    "tracked_objects": ("autoware_perception_msgs", "TrackedObjects", tracks.from_tracked_objects),
}
# Topic and layer; the first makes a map, the others refine it.
MAP_TOPICS = ("map", "map/lane_dividers", "map/crossings")
NO_MAP = MapRaster(np.zeros((1, 1, 3), np.uint8), np.zeros(2), 1.0)
_LOOP_NS = 1_000_000_000  # stamps that fall back further are a new beginning, not a late message


@dataclass(frozen=True)
class Moment:
    """The tracks of one instant of the histories, with their past."""

    stamp_ns: int
    tracks: Tracks


AnyNode = PerceptionNode[Any, Any]
OnMoment = Callable[[Arrival, Moment], None]


class Traffic:
    """Histories of the tracks on `tracks`, and the map of the map topics or of a file.

    began_anew: called when stamps fall back by a second or more, as when a bag is played again.

    Raises FileNotFoundError, ValueError: a map file that is none.
    """

    def __init__(
        self, config: TrafficConfig, began_anew: Callable[[], None] = lambda: None
    ) -> None:
        self._lock = threading.Lock()
        self._began_anew = began_anew
        package, kind, self._read = INPUTS[config.input_type]
        self._type = getattr(importlib.import_module(f"{package}.msg"), kind)
        self._buffers = TrackBuffers(BufferConfig(config.max_gap, config.max_speed))
        self._grids: dict[str, Any] = {}
        self._map, self._map_frame = NO_MAP, ""
        self._frame = ""  # of the newest tracks
        self._from_file = bool(config.map_file)
        if config.map_file:
            self._map = rasterize(_map_of(Path(config.map_file), config.map_origin))

    @property
    def map(self) -> MapRaster:
        """The newest map, `NO_MAP` before the first: one object as long as it is the same map."""
        with self._lock:
            return self._map

    def left_out(self) -> list[str]:
        """Topics of layers that are not on the grid of the drivable area."""
        with self._lock:
            drivable = self._grids.get(MAP_TOPICS[0])
            return [
                topic
                for topic, grid in self._grids.items()
                if drivable is not None and not maps.same_grid(grid, drivable)
            ]

    def connect(self, node: AnyNode, on_moment: OnMoment) -> None:
        """Subscribes; `on_moment` gets each usable message as `tracks.Seen`, and what it makes of
        the histories. What cannot be used is dropped as `tracks`, `track` and `map`. A message
        that says only that there are no tracks is one of the known frame and of now."""
        self.clear()

        def heard(arrival: Arrival) -> None:
            self._on_tracks(node, arrival, on_moment)

        node.listen(self._type, "tracks", "tracks", heard)
        if not self._from_file:
            for topic in MAP_TOPICS:
                node.listen(
                    OccupancyGrid,
                    topic,
                    "map",
                    lambda arrival, t=topic: self._on_map(t, arrival),
                    qos.latched(),
                )

    def clear(self) -> None:
        """Time begins anew: pasts of before are worth nothing."""
        with self._lock:
            self._buffers.clear()
            self._began_anew()

    def _on_tracks(self, node: AnyNode, arrival: Arrival, on_moment: OnMoment) -> None:
        # Every message enters the buffers, also one that is overtaken by a newer before it is
        # answered.
        try:
            with arrival.stages("decode"):
                seen = self._read(arrival.message)
                moment, amiss = self._observed(seen)
        except MessageError as error:
            if error.reason != "no_tracks":
                raise
            self._on_nothing(node, arrival, on_moment)
            return
        for why, count in (seen.unusable + amiss).items():
            for _ in range(count):
                node.pipeline.drop("track", why)
        on_moment(replace(arrival, message=seen), moment)

    def _observed(self, seen: tracks.Seen) -> tuple[Moment, Counter[str]]:
        frame, stamp_ns = seen.header.frame_id, nanoseconds(seen.header.stamp)
        with self._lock:
            if self._map_frame and frame != self._map_frame:
                raise MessageError(
                    "frame",
                    f"expected tracks in the map's frame {self._map_frame!r}; got {frame!r}",
                )
            self._order(stamp_ns)
            self._frame = frame
            amiss = self._buffers.observe(stamp_ns, seen.agents)
            return Moment(stamp_ns, self._buffers.tracks()), amiss

    def _on_nothing(self, node: AnyNode, arrival: Arrival, on_moment: OnMoment) -> None:
        with self._lock:
            frame, last = self._map_frame or self._frame, self._buffers.stamp_ns
        if not frame:
            node.pipeline.pass_over("tracks")
            return
        # The node's clock need not be that of the stamps: its time is no instant of the histories.
        header = Header(stamp=node.get_clock().now().to_msg(), frame_id=frame)
        moment = Moment(last or 0, TrackBuffers().tracks())
        on_moment(replace(arrival, message=tracks.nobody(header)), moment)

    def _order(self, stamp_ns: int) -> None:
        last = self._buffers.stamp_ns
        if last is None or stamp_ns > last:
            return
        if last - stamp_ns < _LOOP_NS:
            raise MessageError(
                "out_of_order", f"expected stamps to rise; got {stamp_ns} ns after {last} ns"
            )
        self._buffers.clear()
        self._began_anew()

    def _on_map(self, topic: str, arrival: Arrival) -> None:
        maps.check(arrival.message)
        with self._lock:
            # Each is kept, for of a map that changes the layers come in any order, and once only.
            self._grids[topic] = arrival.message
            drivable = self._grids.get(MAP_TOPICS[0])
            if drivable is not None:
                self._map = maps.to_raster(*(self._grids.get(name) for name in MAP_TOPICS))
                self._map_frame = drivable.header.frame_id


def _map_of(path: Path, origin: tuple[float, ...]) -> VectorMap:
    """The map of a file, by its suffix and content.

    Raises FileNotFoundError, ValueError: what was expected.
    """
    if path.suffix == ".osm":
        if len(origin) != 2:
            raise ValueError(f"map_file {path.name}: expected map_origin, latitude and longitude")
        return lanelet2.read_map(path, (origin[0], origin[1]))
    record = json.loads(path.read_text())
    if "drivable_areas" in record:
        return argoverse2.read_map(path)
    if "drivable" in record:
        return vector_map(record)
    raise ValueError(f"map_file {path}: expected an Argoverse 2 or world map; got {list(record)}")
