"""An Argoverse 2 sensor log's tracks and map as a bag for the forecasting node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ros_xai.core.geometry import pose
from ros_xai.data import argoverse2
from ros_xai.data.forecasting import Recording
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.world.bag_writer import BagWriter, Marker

# The sweeps come at 10 Hz to a few milliseconds; the bag lays them on an exact clock, as the
# evaluation of a log does. It begins on the day the data set was published, 2021-11-15.
START_NS = 1_637_000_000_000_000_000
PERIOD_NS = 100_000_000
LAYERS = ("drivable", "lane_dividers", "crossings")
SIZES = {"vehicle": (4.5, 1.9, 1.6), "two-wheeler": (1.8, 0.7, 1.7), "pedestrian": (0.6, 0.6, 1.7)}


def percent(raster: MapRaster) -> MapRaster:
    """The raster as an OccupancyGrid can hold it: coverage in whole percent."""
    whole = np.rint(np.rint(raster.layers / 2.55) * 2.55).astype(np.uint8)
    return MapRaster(whole, raster.origin, raster.resolution)


def convert(folder: Path, path: Path | str, seen: Callable[[], None] = lambda: None) -> int:
    """Write /tracks and /map/...; `seen` is called once a frame. Returns the number of frames.

    Raises:
        FileNotFoundError, ImportError: the folder is no log, or pyarrow is missing.
    """
    recording = argoverse2.read_log(folder)
    return write(recording, path, seen)


def write(recording: Recording, path: Path | str, seen: Callable[[], None] = lambda: None) -> int:
    """Write a recording of 10 Hz: ns = category, id = place in `recording.id`, text = its id."""
    raster = rasterize(recording.map)
    with BagWriter(path) as bag:
        for name, layer in zip(LAYERS, np.moveaxis(raster.layers, -1, 0)):
            grid = np.rint(layer / 2.55).astype(np.int8)
            bag.grid(f"/map/{name}", START_NS, "map", grid, raster.resolution, raster.origin)
        for frame in range(len(recording.time)):
            boxes = []
            for a in np.flatnonzero(np.isfinite(recording.xy[frame, :, 0])):
                c, s = np.cos(recording.yaw[frame, a]), np.sin(recording.yaw[frame, a])
                R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
                category = str(recording.category[a])
                size = SIZES.get(category, SIZES["vehicle"])
                T = pose(R, [*recording.xy[frame, a], size[2] / 2])
                boxes.append(Marker(int(a), category, T, size, str(recording.id[a])))
            bag.markers("/tracks", START_NS + frame * PERIOD_NS, "map", boxes)
            seen()
    return len(recording.time)
