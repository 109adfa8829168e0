"""Lanelet2 maps (.osm), the format of Autoware, through the `lanelet2` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import VectorMap

ROADS = frozenset(
    ["road", "highway", "play_street", "emergency_lane", "bus_lane", "bicycle_lane", "exit"]
)
# Bounds that nobody sees on the road, or that are its edge and not a division of it.
NO_DIVIDERS = frozenset(["virtual", "curbstone", "road_border", "guard_rail", "wall", "fence"])


def read_map(path: Path, origin: tuple[float, float]) -> VectorMap:
    """The lanelets of roads, the left bounds that divide them, and the crosswalks.

    `origin` (latitude, longitude in degrees) becomes (0, 0) of the map frame by a UTM projection.
    Where points carry local_x and local_y, as Autoware's maps do, these are the map frame instead.

    Raises:
        ImportError: the package lanelet2 is not installed.
        ValueError: the map has no lanelet of a road.
    """
    try:
        import lanelet2
    except ImportError as error:
        raise ImportError(
            "Lanelet2 maps need the package lanelet2: pip install lanelet2"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"no Lanelet2 map at {path}")
    projector = lanelet2.projection.UtmProjector(lanelet2.io.Origin(*origin))
    lanelets = list(lanelet2.io.load(str(path), projector).laneletLayer)
    roads = [lanelet for lanelet in lanelets if _attribute(lanelet, "subtype") in ROADS]
    if not roads:
        raise ValueError(f"{path}: expected lanelets of subtype {sorted(ROADS)}; got none")
    crosswalks = [lanelet for lanelet in lanelets if _attribute(lanelet, "subtype") == "crosswalk"]
    dividers = {lanelet.leftBound.id: lanelet.leftBound for lanelet in roads}
    return VectorMap(
        drivable=tuple(_outline(lanelet) for lanelet in roads),
        dividers=tuple(
            _line(bound)
            for bound in dividers.values()
            if _attribute(bound, "type") not in NO_DIVIDERS
        ),
        crossings=tuple(_outline(lanelet) for lanelet in crosswalks),
    )


def _attribute(element: Any, name: str) -> str | None:
    attributes = element.attributes  # a C++ map without get()
    return attributes[name] if name in attributes else None  # noqa: SIM401


def _outline(lanelet: Any) -> NDArray[np.float64]:
    return np.concatenate([_line(lanelet.leftBound), _line(lanelet.rightBound)[::-1]])


def _line(bound: Any) -> NDArray[np.float64]:
    return np.array([_position(point) for point in bound])


def _position(point: Any) -> tuple[float, float]:
    x, y = _attribute(point, "local_x"), _attribute(point, "local_y")
    return (point.x, point.y) if x is None or y is None else (float(x), float(y))
