"""Six seconds ahead of every vehicle and two-wheeler, with what the forecasts rest on."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nav_msgs.msg import OccupancyGrid
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from ros_xai.data import argoverse2, lanelet2
from ros_xai.data.forecasting import FORECAST, Tracks, VectorMap, vector_map
from ros_xai.forecasting.evaluation import RADII
from ros_xai.forecasting.forecaster import SHIPPED, Forecaster
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.forecasting.stability import StabilityMonitor
from ros_xai.forecasting.tracks import BufferConfig, TrackBuffers
from ros_xai.nodes.forecasting_config import ForecastingConfig
from ros_xai.nodes.host import run
from ros_xai.ros import forecasts, maps, pointclouds, qos, tracks
from ros_xai.ros.diagnostics import Finding
from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival, Frame

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
class Job:
    """What is forecast: the tracks of one instant, and whether others of time came before."""

    stamp_ns: int
    tracks: Tracks


class ForecastingNode(PerceptionNode[ForecastingConfig, Job]):
    """`tracks` and `map` in; `forecast/points`, `markers`, `stability`, `attribution` out."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("forecasting", "tracks", ForecastingConfig, **arguments)

    def load(self, config: ForecastingConfig) -> dict[str, str]:
        """Loads network and map file, makes the outputs."""
        self._lock = threading.Lock()  # of the map
        if config.threads:
            torch.set_num_threads(config.threads)
        weights = Path(config.weights) if config.weights else SHIPPED
        self._forecaster: Forecaster | None = Forecaster.load(weights)
        package, kind, self._read = INPUTS[config.input_type]
        self._input = getattr(importlib.import_module(f"{package}.msg"), kind)
        self._buffers = TrackBuffers(BufferConfig(config.max_gap, config.max_speed))
        self._stability = StabilityMonitor(RADII)
        self._grids: dict[str, Any] = {}
        self._map, self._map_frame = NO_MAP, ""
        if config.map_file:
            self._map = rasterize(_map_of(Path(config.map_file), config.map_origin))
        self._points = self.output(PointCloud2, "forecast/points")
        self._markers = self.output(MarkerArray, "forecast/markers")
        self._steady = self.output(PointCloud2, "forecast/stability")
        self._shares = self.output(PointCloud2, "forecast/attribution")
        return {"model": weights.name, "map": config.map_file or "topics"}

    def connect(self) -> None:
        """Subscribes to tracks, and to the map unless it comes from a file."""
        self._clear()
        self.listen(self._input, "tracks", "tracks", self._on_tracks)
        if not self.config.map_file:
            for topic in MAP_TOPICS:
                self.listen(
                    OccupancyGrid,
                    topic,
                    "map",
                    lambda arrival, t=topic: self._on_map(t, arrival),
                    qos.latched(),
                )

    def unload(self) -> None:
        """Frees the network and the map."""
        self._forecaster, self._map, self._grids = None, NO_MAP, {}

    def forget(self, why: str) -> None:
        """Time begins anew: pasts of before are worth nothing."""
        self._clear()

    def findings(self) -> Iterator[Finding]:
        """A node without a map forecasts by state and neighbours alone."""
        if self._map is NO_MAP:
            yield Finding("warn", "no map yet: forecasts rest on states and neighbours alone")

    def _clear(self) -> None:
        if self._forecaster is not None:
            with self._lock:
                self._buffers.clear()
                self._stability = StabilityMonitor(RADII)

    # In the executor's thread

    def _on_tracks(self, arrival: Arrival) -> None:
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
                job = self._observed(stamp_ns, seen)
        for why, count in seen.unusable.items():
            for _ in range(count):
                self.pipeline.drop("track", why)
        self.pipeline.submit(replace(arrival, message=seen), job)

    def _observed(self, stamp_ns: int, seen: tracks.Seen) -> Job:
        last = self._buffers.stamp_ns
        if last is not None and stamp_ns <= last:
            if last - stamp_ns < _LOOP_NS:
                raise MessageError(
                    "out_of_order", f"expected stamps to rise; got {stamp_ns} ns after {last} ns"
                )
            self._buffers.clear()
            self._stability = StabilityMonitor(RADII)
        for why, count in self._buffers.observe(stamp_ns, seen.agents).items():
            for _ in range(count):
                self.pipeline.drop("track", why)
        return Job(stamp_ns, self._buffers.tracks())

    def _on_map(self, topic: str, arrival: Arrival) -> None:
        grid = arrival.message
        with self._lock:
            grids = {**self._grids, topic: grid}
            if topic == MAP_TOPICS[0]:
                same = lambda g: g.info.origin == grid.info.origin  # noqa: E731
                grids = {name: g for name, g in grids.items() if same(g)}
            if MAP_TOPICS[0] in grids:
                self._map = maps.to_raster(*(grids.get(name) for name in MAP_TOPICS))
                self._map_frame = grids[MAP_TOPICS[0]].header.frame_id
            self._grids = grids

    # In the worker's thread

    def process(self, frame: Frame[Job]) -> None:
        """Answers one set of tracks."""
        assert self._forecaster is not None  # the worker runs between load and unload only
        config, job = self.config, frame.payload
        with self._lock:
            raster, monitor = self._map, self._stability
        with frame.stages("inference"):
            forecast = self._forecaster(job.tracks, raster, config.max_agents)
        with frame.stages("postprocess"):
            targets = np.flatnonzero(np.isin(job.tracks.category, FORECAST))[: config.max_agents]
            present = job.tracks.xy[targets, -1]
            rows = np.arange(len(targets))
            paths = forecast.modes[rows, forecast.probabilities.argmax(axis=1)]
            steady = monitor.update(job.stamp_ns, forecast.id, present, paths)
            number = forecasts.track_numbers(forecast.id)
            clouds: list[tuple[Any, NDArray[Any]]] = [
                (self._points, forecasts.points(forecast, number)),
                (self._steady, forecasts.stability(steady, present, number, RADII)),
                (self._shares, forecasts.attribution(forecast, number)),
            ]
            outputs = [(p, pointclouds.to_message(cloud, frame.header)) for p, cloud in clouds]
            if config.publish_markers and self.heard(self._markers):
                shown = forecasts.markers(
                    forecast, present, number, frame.header, config.marker_modes
                )
                outputs.append((self._markers, shown))
        with frame.stages("publish"):
            for publisher, message in outputs:
                self.publish(publisher, message)


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


def main(args: list[str] | None = None) -> None:
    """Runs the node until it is told to stop."""
    sys.exit(run([ForecastingNode], args))


if __name__ == "__main__":
    main()
