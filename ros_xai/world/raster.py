"""Layers of the vector map as images, in any window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ros_xai.world.road_map import RoadMap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LAYERS = ("drivable", "lane_dividers", "crossings")


def rasterise(
    road_map: RoadMap, T_map_window: ArrayLike, height: int, width: int, resolution: float
) -> dict[str, NDArray[np.uint8]]:
    """Layers uint8 [H, W] (0 or 1) of the window whose cell [0, 0] lies at ``T_map_window``.

    Columns run along the window's x axis, rows along its y axis, ``resolution`` metres per cell;
    T_map_window is a pose [4, 4] or a position (x, y) in the map frame.
    """
    place = np.asarray(T_map_window, np.float64)
    R, origin = (place[:2, :2], place[:2, 3]) if place.shape == (4, 4) else (np.eye(2), place[:2])
    layers = {name: np.zeros((height, width), np.uint8) for name in LAYERS}

    def cells(points: NDArray[np.float64]) -> NDArray[np.int32]:
        local = (points - origin) @ R / resolution
        return np.round(local * 16).astype(np.int32)  # 4 fractional bits

    for outline in road_map.drivable():
        cv2.fillPoly(layers["drivable"], [cells(outline)], 1, shift=4)
    for outline in road_map.crossings():
        cv2.fillPoly(layers["crossings"], [cells(outline)], 1, shift=4)
    for line in road_map.dividers():
        cv2.polylines(layers["lane_dividers"], [cells(line)], False, 1, shift=4)
    return layers
