"""Six seconds ahead of every vehicle and two-wheeler, with what the forecasts rest on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from ros_xai.data.forecasting import FORECAST
from ros_xai.forecasting.evaluation import RADII
from ros_xai.forecasting.forecaster import SHIPPED, Forecaster
from ros_xai.forecasting.stability import StabilityMonitor
from ros_xai.nodes.forecasting_config import ForecastingConfig
from ros_xai.nodes.host import run
from ros_xai.nodes.traffic import NO_MAP, Moment, Traffic
from ros_xai.ros import forecasts, pointclouds
from ros_xai.ros.diagnostics import Finding
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival, Frame


class ForecastingNode(PerceptionNode[ForecastingConfig, Moment]):
    """`tracks` and `map` in; `forecast/points`, `markers`, `stability`, `attribution` out."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("forecasting", "tracks", ForecastingConfig, **arguments)

    def load(self, config: ForecastingConfig) -> dict[str, str]:
        """Loads network and map file, makes the outputs."""
        if config.threads:
            torch.set_num_threads(config.threads)
        weights = Path(config.weights) if config.weights else SHIPPED
        self._forecaster: Forecaster | None = Forecaster.load(weights)
        self._traffic: Traffic | None = Traffic(config, self._new_monitor)
        self._new_monitor()
        self._points = self.output(PointCloud2, "forecast/points")
        self._markers = self.output(MarkerArray, "forecast/markers")
        self._steady = self.output(PointCloud2, "forecast/stability")
        self._shares = self.output(PointCloud2, "forecast/attribution")
        return {"model": weights.name, "map": config.map_file or "topics"}

    def connect(self) -> None:
        """Subscribes to tracks, and to the map unless it comes from a file."""
        assert self._traffic is not None  # made by `load`
        self._traffic.connect(self, self._on_moment)

    def unload(self) -> None:
        """Frees the network and the map."""
        self._forecaster = self._traffic = None

    def forget(self, why: str) -> None:
        """Time begins anew: pasts of before are worth nothing."""
        if self._traffic is not None:
            self._traffic.clear()

    def findings(self) -> Iterator[Finding]:
        """What of the map the forecasts do without."""
        if self._traffic is None:
            return
        if self._traffic.map is NO_MAP:
            yield Finding("warn", "no map yet: forecasts rest on states and neighbours alone")
        if unlike := self._traffic.left_out():
            yield Finding("warn", f"left out: {', '.join(unlike)}, not on the grid of map")

    def _new_monitor(self) -> None:
        self._stability = StabilityMonitor(RADII)

    def _on_moment(self, arrival: Arrival, moment: Moment) -> None:
        self.pipeline.submit(arrival, moment)

    # In the worker's thread

    def process(self, frame: Frame[Moment]) -> None:
        """Answers one set of tracks."""
        # The worker runs between load and unload only.
        assert self._forecaster is not None and self._traffic is not None
        config, moment = self.config, frame.payload
        raster, monitor = self._traffic.map, self._stability
        with frame.stages("inference"):
            forecast = self._forecaster(moment.tracks, raster, config.max_agents)
        with frame.stages("postprocess"):
            targets = np.flatnonzero(np.isin(moment.tracks.category, FORECAST))[: config.max_agents]
            present = moment.tracks.xy[targets, -1]
            rows = np.arange(len(targets))
            paths = forecast.modes[rows, forecast.probabilities.argmax(axis=1)]
            steady = monitor.update(moment.stamp_ns, forecast.id, present, paths)
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


def main(args: list[str] | None = None) -> None:
    """Runs the node until it is told to stop."""
    sys.exit(run([ForecastingNode], args))


if __name__ == "__main__":
    main()
