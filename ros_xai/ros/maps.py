"""nav_msgs/OccupancyGrid to map layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.forecasting.raster import MapRaster
from ros_xai.ros.errors import MessageError


def to_raster(drivable: Any, dividers: Any | None, crossings: Any | None) -> MapRaster:
    """The map of three OccupancyGrids: 0 to 100 is the coverage of a cell in percent, -1 counts
    as 0. Layers that are None, or not on the drivable area's grid, are empty.

    Raises MessageError: `bad_map`, a grid that is cut off or rotated.
    """
    first = _coverage(drivable)
    others = [
        np.zeros_like(first) if grid is None or not same_grid(grid, drivable) else _coverage(grid)
        for grid in (dividers, crossings)
    ]
    info = drivable.info
    origin = np.array([info.origin.position.x, info.origin.position.y])
    return MapRaster(np.stack([first, *others], axis=-1), origin, float(info.resolution))


def same_grid(grid: Any, other: Any) -> bool:
    """Whether two OccupancyGrids have the same cells: origin, size and resolution."""
    return bool(grid.info.origin == other.info.origin) and _size(grid) == _size(other)


def check(grid: Any) -> None:
    """Raises MessageError: `bad_map`, a grid that is cut off or rotated."""
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
    # A turn about x or y would mirror the map; w says nothing, and is 0 where nobody filled it in.
    turn = [getattr(origin.orientation, axis) for axis in "xyz"]
    if not np.abs(turn).max() <= 1e-6:
        raise MessageError("bad_map", "expected a grid along the axes of its frame; got one turned")
    if max(map(abs, place[:2])) > 1e8:
        raise MessageError("bad_map", f"expected an origin within 1e8 m; got {place[:2]}")


def _size(grid: Any) -> tuple[int, int, float]:
    return grid.info.height, grid.info.width, grid.info.resolution


def _coverage(grid: Any) -> NDArray[np.uint8]:
    check(grid)
    percent = np.asarray(grid.data, dtype=np.int8).reshape(_size(grid)[:2])
    return np.rint(percent.clip(0, 100) * 2.55).astype(np.uint8)
