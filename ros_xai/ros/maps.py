"""nav_msgs/OccupancyGrid to map layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.forecasting.raster import MapRaster
from ros_xai.ros.errors import MessageError


def to_raster(drivable: Any, dividers: Any | None, crossings: Any | None) -> MapRaster:
    """The map of three OccupancyGrids of one geometry: 0 to 100 is the coverage of a cell in
    percent, -1 counts as 0. Layers that are None are empty.

    Raises MessageError: `bad_map`, a grid that is cut off, rotated, or unlike the drivable one.
    """
    layers: list[NDArray[np.uint8]] = []
    for name, grid in (("drivable", drivable), ("dividers", dividers), ("crossings", crossings)):
        if grid is None:
            layers.append(np.zeros_like(layers[0]))
            continue
        if grid.info.origin != drivable.info.origin or _size(grid) != _size(drivable):
            raise MessageError("bad_map", f"expected {name} on the grid of the drivable area")
        layers.append(_coverage(grid))
    info = drivable.info
    origin = np.array([info.origin.position.x, info.origin.position.y])
    return MapRaster(np.stack(layers, axis=-1), origin, float(info.resolution))


def _size(grid: Any) -> tuple[int, int, float]:
    return grid.info.height, grid.info.width, grid.info.resolution


def _coverage(grid: Any) -> NDArray[np.uint8]:
    height, width, resolution = _size(grid)
    origin = grid.info.origin
    place = [origin.position.x, origin.position.y, resolution]
    if height * width == 0 or len(grid.data) != height * width:
        raise MessageError(
            "bad_map",
            f"expected {height}x{width} cells, at least one; got {len(grid.data)} values",
        )
    if resolution <= 0 or not np.isfinite(place).all():
        raise MessageError(
            "bad_map", f"expected a finite origin and a resolution above 0 m; got {place}"
        )
    if abs(origin.orientation.z) > 1e-6 or max(map(abs, place[:2])) > 1e8:
        raise MessageError("bad_map", "expected a grid along the axes of its frame; got one turned")
    percent = np.asarray(grid.data, dtype=np.int8).reshape(height, width)
    return np.rint(percent.clip(0, 100) * 2.55).astype(np.uint8)
