"""Tracks and a map as they come, for the node that forecasts and the one that explains it."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid

from ros_xai.data import argoverse2, lanelet2
from ros_xai.data.forecasting import Tracks, VectorMap, vector_map
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.forecasting.tracks import BufferConfig, TrackBuffers
from ros_xai.nodes.traffic_config import TrafficConfig
from ros_xai.ros import maps, qos, tracks
from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival

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
    """The tracks of one instant, with their past."""

    stamp_ns: int
    tracks: Tracks


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

    def connect(
        self, node: PerceptionNode[Any, Any], on_moment: Callable[[Arrival, Moment], None]
    ) -> None:
        """Subscribes; `on_moment` gets each usable message as `tracks.Seen`, and what it makes of
        the histories. What cannot be used is dropped as `tracks`, `track` and `map`."""
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

    def _on_tracks(
        self,
        node: PerceptionNode[Any, Any],
        arrival: Arrival,
        on_moment: Callable[[Arrival, Moment], None],
    ) -> None:
        # Every message enters the buffers, also one that is overtaken by a newer before it is
        # answered.
        with arrival.stages("decode"):
            seen = self._read(arrival.message)
            stamp = seen.header.stamp
            stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
            with self._lock:
                if self._map_frame and seen.header.frame_id != self._map_frame:
                    raise MessageError(
                        "frame",
                        f"expected tracks in the map's frame {self._map_frame!r}; "
                        f"got {seen.header.frame_id!r}",
                    )
                self._order(stamp_ns)
                amiss = self._buffers.observe(stamp_ns, seen.agents)
                moment = Moment(stamp_ns, self._buffers.tracks())
        for why, count in (seen.unusable + amiss).items():
            for _ in range(count):
                node.pipeline.drop("track", why)
        on_moment(replace(arrival, message=seen), moment)

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
