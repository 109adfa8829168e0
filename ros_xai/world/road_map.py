"""The vector map of a network: lanes with successors, drivable area, dividers, crossings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from ros_xai.world.junctions import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Polyline = NDArray[np.float64]  # [P, 2] metres, map frame


@dataclass(frozen=True)
class Lane:
    """One lane; ``kind`` is drive, bicycle, parking, sidewalk, crossing or corner.

    The shape is the centre line, in driving direction; of a corner it is the outline.
    ``signal`` is the index of the light that rules it, or -1.
    """

    id: str
    edge: str
    index: int
    kind: str
    shape: Polyline
    width: float
    successors: tuple[str, ...] = ()
    is_intersection: bool = False
    signal: int = -1


@dataclass(frozen=True)
class Signal:
    """A traffic light head as the approach of ``lane`` sees it: one link of one SUMO program."""

    lane: str
    program: str
    link: int


@dataclass(frozen=True)
class RoadMap:
    """Lanes by id, outlines of the junctions' carriageways and of their pavements, signals."""

    lanes: dict[str, Lane]
    junctions: tuple[Polyline, ...]
    pavements: tuple[Polyline, ...]
    signals: tuple[Signal, ...]

    def of_kind(self, *kinds: str) -> list[Lane]:
        return [lane for lane in self.lanes.values() if lane.kind in kinds]

    def drivable(self) -> list[Polyline]:
        """Polygons whose union is the drivable area (lanes with parking, junctions)."""
        lanes = self.of_kind("drive", "bicycle", "parking")
        strips = [strip(lane.shape, lane.width / 2 + 0.05) for lane in lanes]
        return [*strips, *self.junctions]

    def dividers(self) -> list[Polyline]:
        """Left borders of the lanes outside junctions, as polylines."""
        lanes = [lane for lane in self.of_kind("drive") if not lane.is_intersection]
        return [offset(lane.shape, lane.width / 2) for lane in lanes]

    def crossings(self) -> list[Polyline]:
        return [strip(lane.shape, lane.width / 2) for lane in self.of_kind("crossing")]

    def as_record(self) -> dict[str, Any]:
        """JSON-ready record of the map (lanes, drivable, dividers, crossings; metres)."""
        return {
            "lanes": [
                {
                    "id": lane.id,
                    "centerline": rounded(lane.shape),
                    "width": lane.width,
                    "successors": list(lane.successors),
                    "is_intersection": lane.is_intersection,
                }
                for lane in self.of_kind("drive", "bicycle")
            ],
            "drivable": [rounded(p) for p in self.drivable()],
            "dividers": [rounded(p) for p in self.dividers()],
            "crossings": [rounded(p) for p in self.crossings()],
        }


def rounded(points: Polyline) -> list[list[float]]:
    return [[round(float(x), 3), round(float(y), 3)] for x, y in points]


def offset(line: Polyline, distance: float | NDArray[np.float64]) -> Polyline:
    """A polyline moved to its left by a distance in metres (one, or one per point)."""
    step = np.diff(line, axis=0)
    step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    tangent = np.vstack([step[:1], step[1:] + step[:-1], step[-1:]])
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    # a mitre keeps the distance to both neighbouring segments; bounded at sharp corners
    inner = np.vstack([np.ones((1, 1)), (tangent[1:-1] * step[1:]).sum(1, keepdims=True), [[1]]])
    return line + normal / np.maximum(inner, 0.5) * np.reshape(distance, (-1, 1))


def strip(line: Polyline, half_width: float) -> Polyline:
    """Closed outline (first point not repeated) of a band around a polyline."""
    return np.vstack([offset(line, half_width), offset(line, -half_width)[::-1]])


def arc_length(line: Polyline) -> NDArray[np.float64]:
    """Distance along a polyline [P] at each of its points, metres."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])


def along(line: Polyline, distance: NDArray[np.float64]) -> tuple[Polyline, NDArray[np.float64]]:
    """Points [N, 2] and headings [N] at distances [N] along a polyline."""
    s = arc_length(line)
    point = np.stack([np.interp(distance, s, line[:, k]) for k in range(2)], axis=1)
    segment = np.clip(np.searchsorted(s, distance, side="right") - 1, 0, len(line) - 2)
    step = line[segment + 1] - line[segment]
    return point, np.arctan2(step[:, 1], step[:, 0])


def read_map(net_xml: bytes) -> RoadMap:
    """The map of a SUMO ``.net.xml``."""
    root = ElementTree.fromstring(net_xml)
    successors: dict[str, list[str]] = {}
    links: dict[str, tuple[bool, Signal]] = {}
    for c in root.iter("connection"):
        lane = f"{c.get('from')}_{c.get('fromLane')}"
        target = c.get("via") or f"{c.get('to')}_{c.get('toLane')}"
        successors.setdefault(lane, []).append(target)
        if c.get("tl"):
            straight = c.get("dir") == "s"
            if lane not in links or (straight and not links[lane][0]):
                links[lane] = (straight, Signal(lane, c.get("tl", ""), int(c.get("linkIndex", 0))))
    # crossings have lights of their own, which pedestrians obey; heads are for drivers
    ruled = [key for key in links if not key.startswith(":")]
    lanes: dict[str, Lane] = {}
    for edge in root.iter("edge"):
        for element in edge.iter("lane"):
            lane_id = element.get("id", "")
            lanes[lane_id] = Lane(
                lane_id,
                edge.get("id", ""),
                int(element.get("index", 0)),
                _kind(edge, element),
                _points(element.get("shape", "")),
                float(element.get("width", 3.2)),
                tuple(successors.get(lane_id, ())),
                edge.get("function", "") == "internal",
                ruled.index(lane_id) if lane_id in ruled else -1,
            )
    junctions, pavements = _junctions(root, lanes)
    return RoadMap(lanes, junctions, pavements, tuple(links[key][1] for key in ruled))


def _junctions(
    root: ElementTree.Element, lanes: dict[str, Lane]
) -> tuple[tuple[Polyline, ...], tuple[Polyline, ...]]:
    """Carriageways and pavements of all junctions."""
    found = {
        j.get("id", ""): _points(j.get("shape", ""))
        for j in root.iter("junction")
        if j.get("type") != "internal" and j.get("shape", "").count(" ") >= 2
    }
    index = {name: k for k, name in enumerate(found)}
    ways: dict[int, list[Polyline]] = {}
    corners: dict[int, list[Polyline]] = {}
    streets = []
    for lane in lanes.values():
        outline = lane.shape if lane.kind == "corner" else strip(lane.shape, lane.width / 2)
        if not lane.edge.startswith(":"):
            streets.append(outline)
            continue
        # SUMO names what is inside junction J ":J_0", ":J_c0" (crossing), ":J_w0" (walking area)
        junction = index.get(lane.edge[1:].rsplit("_", 1)[0])
        if junction is not None and len(outline) > 2:
            (corners if lane.kind == "corner" else ways).setdefault(junction, []).append(outline)
    carriageways, pavements = split(list(found.values()), ways, corners, streets)
    return tuple(carriageways), tuple(pavements)


def _kind(edge: ElementTree.Element, lane: ElementTree.Element) -> str:
    function = edge.get("function", "")
    if function in ("crossing", "walkingarea"):
        return {"crossing": "crossing", "walkingarea": "corner"}[function]
    if lane.get("disallow") == "all":
        return "parking"
    return {"pedestrian": "sidewalk", "bicycle": "bicycle"}.get(lane.get("allow", ""), "drive")


def _points(text: str) -> Polyline:
    values = np.array([float(v) for v in re.split(r"[ ,]+", text.strip())])
    return values.reshape(-1, 2)
