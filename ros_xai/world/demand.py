"""Who drives and walks: SUMO's route file for a road map, from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from ros_xai.world.road_map import Lane, RoadMap, arc_length

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True)
class TrafficConfig:
    """Densities and shares of the traffic. Lengths in metres, times in seconds."""

    spacing: float = 75.0  # metres of driving lane per vehicle
    walkers: float = 30.0  # metres of sidewalk per pedestrian
    parked: float = 0.65  # share of parking places taken
    trucks: float = 0.08
    buses: float = 0.05
    bicycles: float = 0.15
    warm_up: float = 40.0
    lead_car: float = 0.6  # chance of a car that drives ahead on the ego's own route


# length, width, height in metres; acceleration m/s2; top speed m/s
TYPES: dict[str, tuple[float, float, float, float, float]] = {
    "car_city": (3.75, 1.68, 1.52, 2.6, 50.0),
    "car_hatch": (4.25, 1.78, 1.47, 2.6, 50.0),
    "car_saloon": (4.75, 1.82, 1.44, 2.8, 50.0),
    "car_estate": (4.70, 1.82, 1.52, 2.6, 50.0),
    "car_suv": (4.60, 1.88, 1.72, 2.6, 50.0),
    "car_van": (5.10, 1.95, 2.10, 2.0, 45.0),
    "truck_box": (6.80, 2.35, 3.20, 1.4, 25.0),
    "bus_city": (8.40, 2.50, 3.05, 1.2, 25.0),
    "bicycle_city": (1.75, 0.60, 1.75, 1.0, 5.5),
}
CARS = [name for name in TYPES if name.startswith("car_")]
_EGO = "car_hatch"
_TOP_SPEED = 14.0  # m/s, of the fastest street


def demand(
    seed: int, road_map: RoadMap, config: TrafficConfig, horizon: float
) -> ElementTree.Element:
    """SUMO's route file: vehicles on random walks that last ``horizon`` seconds, and walkers."""
    rng = np.random.default_rng([seed, 2])
    drive = [lane for lane in road_map.of_kind("drive") if not lane.is_intersection]
    following = _edge_graph(road_map, drive)
    starts = sorted({lane.edge for lane in drive if arc_length(lane.shape)[-1] > 40.0})
    lengths = {lane.edge: float(arc_length(lane.shape)[-1]) for lane in drive}
    root = ElementTree.Element("routes")
    for name, (length, width, height, acceleration, top) in TYPES.items():
        ElementTree.SubElement(
            root,
            "vType",
            {
                "id": name,
                "vClass": {"bus": "bus", "truck": "truck", "bicycle": "bicycle"}.get(
                    name.split("_")[0], "passenger"
                ),
                "length": str(length),
                "width": str(width),
                "height": str(height),
                "accel": str(acceleration),
                "decel": "4.0",
                "maxSpeed": str(top),
                "sigma": "0.4",
                "speedFactor": "normc(0.95,0.12,0.7,1.2)",
                "minGap": "2.2",
                "lcKeepRight": "0.2",
            },
        )
    graph = _Graph(starts, following, lengths, horizon * _TOP_SPEED)
    route = graph.walk(np.random.default_rng([seed, 0]))
    if rng.random() < config.lead_car:
        _vehicle(root, "lead", str(rng.choice(CARS)), route, "34")
    _vehicle(root, "ego", _EGO, route, "12")
    total = sum(float(arc_length(lane.shape)[-1]) for lane in drive)
    shares = np.array([config.trucks, config.buses, config.bicycles])
    for k in range(round(total / config.spacing)):
        # a generator of its own: a longer drive has longer routes, and else the same traffic
        own = np.random.default_rng([seed, 1, k])
        family = own.choice(4, p=[*shares, 1 - shares.sum()])
        kind = ["truck_box", "bus_city", "bicycle_city", str(own.choice(CARS))][family]
        _vehicle(root, f"v{k}", kind, graph.walk(own), "random_free")
    _walkers(rng, root, road_map, config)
    return root


@dataclass(frozen=True)
class _Graph:
    """Edges that follow each edge, their lengths in m, and how long a route must be."""

    starts: list[str]
    following: dict[str, list[str]]
    lengths: dict[str, float]
    route_length: float

    def walk(self, rng: Generator) -> list[str]:
        """A random route."""
        route = [str(rng.choice(self.starts))]
        covered = self.lengths[route[0]]
        while covered < self.route_length and self.following[route[-1]]:
            route.append(str(rng.choice(self.following[route[-1]])))
            covered += self.lengths[route[-1]]
        return route


def _edge_graph(road_map: RoadMap, drive: list[Lane]) -> dict[str, list[str]]:
    """Edges that can be driven to from each edge, through the junctions' lanes."""
    following: dict[str, set[str]] = {}
    for lane in drive:
        frontier, reached = list(lane.successors), following.setdefault(lane.edge, set())
        while frontier:
            successor = road_map.lanes[frontier.pop()]
            if successor.is_intersection:
                frontier.extend(successor.successors)
            elif successor.kind == "drive":
                reached.add(successor.edge)
    return {edge: sorted(targets) for edge, targets in following.items()}


def _vehicle(
    root: ElementTree.Element, name: str, kind: str, route: list[str], position: str
) -> None:
    attributes = {"id": name, "type": kind, "depart": "0", "departPos": position}
    vehicle = ElementTree.SubElement(root, "vehicle", {**attributes, "departLane": "best"})
    ElementTree.SubElement(vehicle, "route", {"edges": " ".join(route)})


def _walkers(
    rng: Generator, root: ElementTree.Element, road_map: RoadMap, config: TrafficConfig
) -> None:
    sidewalks = road_map.of_kind("sidewalk")
    edges = [lane.edge for lane in sidewalks]
    total = sum(float(arc_length(lane.shape)[-1]) for lane in sidewalks)
    for k in range(round(total / config.walkers)):
        stops = [str(edge) for edge in rng.choice(edges, 4)]
        person = ElementTree.SubElement(
            root, "person", {"id": f"p{k}", "depart": "0", "departPos": "random"}
        )
        for start, end in pairwise(stops):
            ElementTree.SubElement(person, "walk", {"from": start, "to": end})
