"""Maps as images: what an agent sees of the roads around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import VectorMap

Array = NDArray[np.float64]

# Polygons are drawn this much finer and averaged: cv2 fills most of every cell that an edge
# touches, which at 0.25 m would widen a lane by a tenth.
_FINER = 2
_SHIFT = 4  # fractional bits of cv2's coordinates


@dataclass(frozen=True)
class CropConfig:
    """The part of the map around an agent, in metres, heading up.

    CAB sees 30 m ahead, 3 m behind and 17 m to each side at 3 pixels/m; at 1 pixel/m the coverage
    of cells still tells the edge of a road to centimetres, and 52 m are 6 s of city traffic.
    """

    resolution: float = 1.0
    ahead: float = 52.0
    behind: float = 12.0
    side: float = 24.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (ahead to behind) and columns (left to right)."""
        rows = round((self.ahead + self.behind) / self.resolution)
        return rows, round(2 * self.side / self.resolution)


@dataclass(frozen=True)
class MapRaster:
    """Coverage 0..255 of each cell [H,W,3] by drivable area, lane dividers and crossings.

    Cell (row, column) covers y from origin[1] + row * resolution and x from origin[0] + column *
    resolution, metres in the map frame, as in nav_msgs/OccupancyGrid.
    """

    layers: NDArray[np.uint8]
    origin: Array
    resolution: float

    @cached_property
    def drivable(self) -> NDArray[np.bool_]:
        """Cells [H,W] of which at least half is drivable."""
        return self.layers[..., 0] >= 128

    def smoothed(self, cell: float) -> MapRaster:
        """The raster averaged over squares of `cell` metres, for sampling at that spacing."""
        size = max(1, round(cell / self.resolution))
        # cv2 takes the pixel at size // 2 for the middle; the even sizes' half pixel is the shift.
        shift = (size // 2 - (size - 1) / 2) * self.resolution
        layers = cv2.blur(self.layers, (size, size), borderType=cv2.BORDER_CONSTANT)
        return MapRaster(layers, self.origin - shift, self.resolution)


def rasterize(vector_map: VectorMap, resolution: float = 0.25, margin: float = 10.0) -> MapRaster:
    """Draw a map, with a margin around its drivable area, all lengths in metres.

    Dividers are drawn 0.5 m wide. Raises ValueError if nothing is drivable.
    """
    if not vector_map.drivable:
        raise ValueError("expected a map with a drivable area; got one without")
    corners = np.concatenate(vector_map.drivable)
    origin = np.floor(corners.min(axis=0) - margin)
    width, height = np.ceil((corners.max(axis=0) + margin - origin) / resolution).astype(int)
    fine = resolution / _FINER

    def cells(line: Array) -> NDArray[np.int32]:
        return np.rint(((line - origin) / fine - 0.5) * 2**_SHIFT).astype(np.int32)

    def layer(polygons: tuple[Array, ...], lines: tuple[Array, ...] = ()) -> NDArray[np.uint8]:
        image = np.zeros((height * _FINER, width * _FINER), dtype=np.uint8)
        # One by one: cv2 leaves out what an even number of the polygons of one call cover.
        for polygon in polygons:
            cv2.fillPoly(image, [cells(polygon)], 255, cv2.LINE_AA, _SHIFT)
        thickness = max(1, round(0.5 / fine))
        cv2.polylines(image, list(map(cells, lines)), False, 255, thickness, cv2.LINE_AA, _SHIFT)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    layers = layer(vector_map.drivable), layer((), vector_map.dividers), layer(vector_map.crossings)
    return MapRaster(np.stack(layers, axis=-1), origin, resolution)


def crops(raster: MapRaster, xy: Array, yaw: Array, config: CropConfig) -> NDArray[np.uint8]:
    """The map around each of N agents at xy [N,2] with headings yaw [N]: uint8 [N,3,rows,columns].

    `raster` should be `smoothed` to the resolution of the crops. Outside the raster is 0.
    """
    rows, columns = config.shape
    out = np.empty((len(xy), 3, rows, columns), dtype=np.uint8)
    for i, (c, s) in enumerate(zip(np.cos(yaw), np.sin(yaw))):
        # Pixel (row, column) lies ahead - (row + .5) res forward and side - (column + .5) res left.
        forward, left = np.array([c, s]), np.array([-s, c])
        first = (
            xy[i]
            + (config.ahead - 0.5 * config.resolution) * forward
            + (config.side - 0.5 * config.resolution) * left
        )
        to_raster = np.column_stack([-left, -forward]) * (config.resolution / raster.resolution)
        offset = (first - raster.origin) / raster.resolution - 0.5
        crop = cv2.warpAffine(
            raster.layers,
            np.column_stack([to_raster, offset]),
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        out[i] = crop.transpose(2, 0, 1)
    return out
