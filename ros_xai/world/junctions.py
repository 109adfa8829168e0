"""Junctions split into carriageway and pavement, by the ways that lead through them.

SUMO's outlines of junctions and of their walking areas overlap with the lanes where streets bend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Polyline = NDArray[np.float64]

_MARGIN = 0.4  # metres of carriageway beside a lane
_GAP = 2.5  # metres between lanes that are carriageway, too


def split(
    outlines: list[Polyline],
    ways: dict[int, list[Polyline]],
    corners: dict[int, list[Polyline]],
    streets: list[Polyline],
) -> tuple[list[Polyline], list[Polyline]]:
    """Outlines of carriageways and of pavements, counter-clockwise, first point not repeated.

    outlines: of the junctions; ways, corners: by index of the junction, the bands of its lanes and
    crossings, and SUMO's walking areas; streets: the bands of all lanes between the junctions.
    """
    roads = shapely.union_all([_polygon(band) for band in streets])
    shapely.prepare(roads)
    carriageways: list[Polyline] = []
    pavements: list[Polyline] = []
    for k, outline in enumerate(outlines):
        bands = [_polygon(band) for band in ways.get(k, [])]
        whole = shapely.union_all([_polygon(p) for p in (outline, *corners.get(k, []))])
        lanes = shapely.union_all(bands).buffer(_MARGIN, join_style="mitre")
        closed = lanes.buffer(_GAP).buffer(-_GAP)
        solid = shapely.union_all(
            [shapely.Polygon(part.exterior) for part in _polygons(closed)]
        ).intersection(whole.buffer(_MARGIN))
        carriageways += _rings(solid)
        pavements += _rings(whole.difference(solid).difference(roads))
    return carriageways, pavements


def _polygon(outline: Polyline) -> shapely.Geometry:
    return shapely.make_valid(shapely.Polygon(outline))


def _polygons(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    return [p for p in shapely.get_parts(geometry) if p.geom_type == "Polygon"]


def _rings(geometry: shapely.Geometry, least: float = 0.3) -> list[Polyline]:
    """Exteriors of the parts of more than ``least`` square metres."""
    parts = [shapely.polygons(p.exterior) for p in _polygons(geometry) if p.area > least]
    return [np.asarray(shapely.orient_polygons(p).exterior.coords)[:-1, :2] for p in parts]
