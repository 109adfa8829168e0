"""Ground of the scene from the road map: lanes with markings, junctions, crossings, pavements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import PAVEMENT, ROAD, TREE, Material, Mesh, concat
from ros_xai.world.road_map import Lane, RoadMap, offset
from ros_xai.world.shapes import floor, panel, ribbon, wall

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

KERB = 0.12  # metres
NONE, SOLID, DASHED, DOUBLE = range(4)  # markings; the codes of the lane material's parameters
_ASPHALT = np.array([0.105, 0.105, 0.11])
_PAVING = np.array([0.27, 0.26, 0.25])


def ground(rng: Generator, road_map: RoadMap) -> Mesh:
    """All that lies on the ground, in the map frame."""
    by_edge: dict[str, list[Lane]] = {}
    for lane in road_map.lanes.values():
        if not lane.is_intersection and lane.kind in ("drive", "bicycle", "parking", "sidewalk"):
            by_edge.setdefault(lane.edge, []).append(lane)
    tint = _ASPHALT * rng.uniform(0.75, 1.35)
    paving = _PAVING * rng.uniform(0.65, 1.1) * rng.uniform(0.96, 1.04, 3)
    parts = [_plain(road_map, rng)]
    for lanes in by_edge.values():
        lanes.sort(key=lambda lane: lane.index)
        edge_line = SOLID if rng.random() < 0.5 else NONE
        centre = int(rng.choice([DASHED, SOLID, DASHED, DOUBLE]))
        shade = tint * rng.uniform(0.85, 1.15)
        for below, lane, above in zip([None, *lanes], lanes, [*lanes[1:], None], strict=False):
            if lane.kind == "sidewalk":
                parts += _sidewalk(lane, paving)
            else:
                parts.append(_lane(lane, below, above, shade, edge_line, centre))
    for outline in road_map.junctions:
        parts.append(floor(outline, -0.004, Material.ASPHALT, tint, ROAD))
    for lane in road_map.of_kind("crossing"):
        left, right = (_lift(offset(lane.shape, k * lane.width / 2), 0.004) for k in (1, -1))
        parts.append(ribbon(left, right, Material.CROSSING, tint, ROAD, (lane.width,)))
    for outline in road_map.pavements:
        parts.append(floor(outline, KERB, Material.PAVERS, paving, PAVEMENT))
        closed = np.vstack([outline, outline[:1]])
        parts.append(wall(closed, -0.01, KERB, Material.CONCRETE, (0.33,) * 3, PAVEMENT))
    return concat(parts)


def _plain(road_map: RoadMap, rng: Generator) -> Mesh:
    points = np.vstack([lane.shape for lane in road_map.lanes.values()])
    low, high = points.min(0) - 260, points.max(0) + 260
    origin, size = np.array([*low, -0.03]), high - low
    green = np.array([0.10, 0.13, 0.035]) * rng.uniform(0.8, 1.3)
    return panel(origin, (size[0], 0, 0), (0, size[1], 0), Material.GRASS, green, TREE)


def _lift(line: NDArray[np.float64], z: float) -> NDArray[np.float64]:
    return np.column_stack([line, np.full(len(line), z)])


def _sidewalk(lane: Lane, paving: NDArray[np.float64]) -> list[Mesh]:
    """Slabs, a kerb stone along the road and its face."""
    half = lane.width / 2
    left, stone, right = (offset(lane.shape, d) for d in (half, half - 0.16, -half - 0.1))
    grey = (0.34, 0.34, 0.33)
    return [
        ribbon(_lift(stone, KERB), _lift(right, KERB), Material.PAVERS, paving, PAVEMENT),
        ribbon(_lift(left, KERB), _lift(stone, KERB), Material.CONCRETE, grey, PAVEMENT),
        wall(left, -0.01, KERB, Material.CONCRETE, grey, PAVEMENT),
        wall(right, -0.03, KERB, Material.CONCRETE, grey, PAVEMENT),
    ]


def _lane(
    lane: Lane,
    right: Lane | None,
    left: Lane | None,
    shade: NDArray[np.float64],
    edge_line: int,
    centre: int,
) -> Mesh:
    """Carriageway with the markings its neighbours call for."""
    if lane.kind == "parking":
        marks = (NONE, NONE)
    elif lane.kind == "bicycle":
        marks = (SOLID, edge_line)
        shade = shade * [1.5, 0.8, 0.7]
    else:
        beside = right.kind if right else "sidewalk"
        on_right = {"drive": DASHED, "bicycle": SOLID, "parking": DASHED}.get(beside, edge_line)
        marks = (DASHED if left else centre, on_right)
    length = float(np.linalg.norm(np.diff(lane.shape, axis=0), axis=1).sum())
    stop = float(lane.signal >= 0)
    half = lane.width / 2
    params = (lane.width, *marks, length, stop)
    borders = (_lift(offset(lane.shape, d), 0.0) for d in (half, -half))
    return ribbon(*borders, Material.LANE, shade, ROAD, params)
