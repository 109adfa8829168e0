"""Traffic of a seeded network by SUMO: tracks, signals and lights at 10 Hz.

``libsumo`` is one simulation per process: run several in several processes.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from ros_xai.world.network import NetworkConfig, build_network
from ros_xai.world.road_map import Lane, RoadMap, along, arc_length, read_map

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

STEP = 0.1  # seconds
RIGHT, LEFT, BRAKE = 1, 2, 8  # SUMO's bits of the vehicle signals
LIGHT_STATES = "ruyYgGoO"  # SUMO's letters; the index is what ``Traffic.lights`` holds


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


@dataclass(frozen=True)
class Traffic:
    """T steps of A agents; the ego is agent 0. NaN where an agent is absent.

    time [T] s; size [A, 3] length, width, height in m; xy [T, A, 2] centres in the map frame;
    yaw [T, A] rad; speed [T, A] m/s; signals [T, A] SUMO bits; lights [T, L] index into
    ``LIGHT_STATES`` per signal of the map.
    """

    time: NDArray[np.float64]
    category: tuple[str, ...]
    parked: NDArray[np.bool_]
    size: NDArray[np.float32]
    xy: NDArray[np.float32]
    yaw: NDArray[np.float32]
    speed: NDArray[np.float32]
    signals: NDArray[np.uint8]
    lights: NDArray[np.uint8]
    road_map: RoadMap


# length, width, height in metres; acceleration m/s2; top speed m/s
_TYPES: dict[str, tuple[float, float, float, float, float]] = {
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
_CARS = [name for name in _TYPES if name.startswith("car_")]
_EGO = "car_hatch"


def simulate(
    seed: int,
    seconds: float,
    network: str | NetworkConfig = "town",
    config: TrafficConfig | None = None,
) -> Traffic:
    """Run a seeded town for ``seconds`` after its warm-up.

    Raises:
        ValueError: unknown network, or a duration that is not positive.
        RuntimeError: the network tool or the simulation failed.
    """
    if seconds <= 0:
        raise ValueError(f"expected a positive duration in seconds, got {seconds}")
    config = config or TrafficConfig()
    net_xml = build_network(seed, network)
    road_map = read_map(net_xml)
    rng = np.random.default_rng([seed, 2])
    demand = _demand(rng, road_map, config, config.warm_up + seconds)
    steps = round(seconds / STEP) + 1
    states, lights = _run(seed, net_xml, demand, road_map, round(config.warm_up / STEP), steps)
    return _assemble(rng, road_map, config, states, lights)


def _demand(
    rng: Generator, road_map: RoadMap, config: TrafficConfig, horizon: float
) -> ElementTree.Element:
    """SUMO's route file: vehicles on endless random walks through the network, and walkers."""
    drive = [lane for lane in road_map.of_kind("drive") if not lane.is_intersection]
    following = _edge_graph(road_map, drive)
    starts = sorted({lane.edge for lane in drive if arc_length(lane.shape)[-1] > 40.0})
    lengths = {lane.edge: float(arc_length(lane.shape)[-1]) for lane in drive}
    root = ElementTree.Element("routes")
    for name, (length, width, height, acceleration, top) in _TYPES.items():
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
    route = _walk(rng, following, lengths, str(rng.choice(starts)), horizon * 14.0)
    if rng.random() < config.lead_car:
        _vehicle(root, "lead", str(rng.choice(_CARS)), route, "34")
    _vehicle(root, "ego", _EGO, route, "12")
    total = sum(float(arc_length(lane.shape)[-1]) for lane in drive)
    shares = np.array([config.trucks, config.buses, config.bicycles])
    for k in range(round(total / config.spacing)):
        family = rng.choice(4, p=[*shares, 1 - shares.sum()])
        kind = ["truck_box", "bus_city", "bicycle_city", str(rng.choice(_CARS))][family]
        walk = _walk(rng, following, lengths, str(rng.choice(starts)), horizon * 14.0)
        _vehicle(root, f"v{k}", kind, walk, "random_free")
    _walkers(rng, root, road_map, config)
    return root


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


def _walk(
    rng: Generator,
    following: dict[str, list[str]],
    lengths: dict[str, float],
    start: str,
    length: float,
) -> list[str]:
    route, covered = [start], lengths[start]
    while covered < length and following[route[-1]]:
        route.append(str(rng.choice(following[route[-1]])))
        covered += lengths[route[-1]]
    return route


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


_State = dict[str, tuple[str, list[tuple[int, float, float, float, float, int]]]]


def _run(
    seed: int,
    net_xml: bytes,
    demand: ElementTree.Element,
    road_map: RoadMap,
    warm_up: int,
    steps: int,
) -> tuple[_State, NDArray[np.uint8]]:
    """States by agent (type; step, x, y, angle, speed, signals) and lights [T, L]."""
    os.environ["LIBSUMO_AS_TRACI"] = "quiet"  # else it prints about pyarrow on standard output
    import libsumo as sumo

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.xml").write_bytes(net_xml)
        (Path(folder) / "demand.xml").write_bytes(ElementTree.tostring(demand))
        command = ["sumo", "-n", f"{folder}/net.xml", "-r", f"{folder}/demand.xml"]
        command += ["--seed", str(seed % 2**31), "--step-length", str(STEP)]
        command += ["--time-to-teleport", "-1", "--lanechange.duration", "2.5"]
        command += ["--collision.action", "none", "--no-warnings", "--no-step-log"]
        command += ["--ignore-route-errors", "true", "--default.action-step-length", str(STEP)]
        sumo.start(command)
        try:
            for _ in range(warm_up):
                sumo.simulationStep()
            return _record(sumo, road_map, steps)
        finally:
            sumo.close()


def _record(sumo, road_map: RoadMap, steps: int) -> tuple[_State, NDArray[np.uint8]]:  # type: ignore[no-untyped-def]
    states: _State = {}
    lights = np.zeros((steps, len(road_map.signals)), np.uint8)
    programs = sorted({signal.program for signal in road_map.signals})
    for step in range(steps):
        for domain in (sumo.vehicle, sumo.person):
            for name in sorted(domain.getIDList()):
                if name not in states:
                    kind = domain.getTypeID(name)
                    states[name] = ("pedestrian" if domain is sumo.person else kind, [])
                x, y = domain.getPosition(name)
                bits = domain.getSignals(name) if domain is sumo.vehicle else 0
                angle, speed = domain.getAngle(name), domain.getSpeed(name)
                states[name][1].append((step, x, y, angle, speed, bits & (RIGHT | LEFT | BRAKE)))
        now = {p: sumo.trafficlight.getRedYellowGreenState(p) for p in programs}
        for k, signal in enumerate(road_map.signals):
            lights[step, k] = LIGHT_STATES.index(now[signal.program][signal.link])
        sumo.simulationStep()
    return states, lights


def _assemble(
    rng: Generator,
    road_map: RoadMap,
    config: TrafficConfig,
    states: _State,
    lights: NDArray[np.uint8],
) -> Traffic:
    names = sorted(states, key=lambda name: (name != "ego", name[0], len(name), name))
    steps, moving = len(lights), len(names)
    places = _parked(rng, road_map, config)
    agents = moving + len(places)
    xy = np.full((steps, agents, 2), np.nan)
    yaw, speed = np.full((steps, agents), np.nan), np.full((steps, agents), np.nan)
    signals = np.zeros((steps, agents), np.uint8)
    size, category = np.zeros((agents, 3), np.float32), []
    for k, name in enumerate(names):
        kind, rows = states[name]
        category.append(kind.split("_")[0])
        size[k] = _TYPES[kind][:3] if kind in _TYPES else _body(rng)
        step = np.array([row[0] for row in rows])
        values = np.array([row[1:] for row in rows])
        heading = _smooth(np.unwrap(np.pi / 2 - np.deg2rad(values[:, 2])))
        direction = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        # SUMO gives the front bumper of vehicles, the centre of persons
        back = 0.0 if kind == "pedestrian" else size[k, 0] / 2
        centre = values[:, :2] - direction * back
        xy[step, k] = _bridge(_swing_out(values[:, :2], centre, back), values[:, 3])
        yaw[step, k] = heading
        speed[step, k], signals[step, k] = values[:, 3], values[:, 4]
    for k, (x, y, heading, kind) in enumerate(places, start=moving):
        category.append("car")
        size[k], xy[:, k], yaw[:, k], speed[:, k] = _TYPES[kind][:3], (x, y), heading, 0.0
    return Traffic(
        np.arange(steps) * STEP,
        tuple(category),
        np.arange(agents) >= moving,
        size,
        xy.astype(np.float32),
        np.angle(np.exp(1j * yaw)).astype(np.float32),
        speed.astype(np.float32),
        signals,
        lights,
        road_map,
    )


def _smooth(angle: NDArray[np.float64], half: int = 3) -> NDArray[np.float64]:
    """Centred moving average: lanes are polylines, steering is not."""
    padded = np.pad(angle, half, mode="edge")
    return np.convolve(padded, np.ones(2 * half + 1) / (2 * half + 1), mode="valid")


def _swing_out(
    front: NDArray[np.float64], centre: NDArray[np.float64], back: float
) -> NDArray[np.float64]:
    """Centres of a vehicle that takes its turns wide, as drivers of long ones do.

    SUMO keeps both ends on the lane, so that the middle cuts the corner by the sagitta: half of
    it goes to the outside. ``back`` is the distance from the front to the centre, m.
    """
    gone = arc_length(front)
    known = np.flatnonzero(gone >= back)
    if back < 2.5 or len(known) == 0:
        return centre
    path = np.stack([np.interp(gone - back, gone, front[:, k]) for k in range(2)], axis=1)
    sagitta = path - centre
    sagitta[: known[0]] = sagitta[known[0]]
    return centre + sagitta / 2


def _bridge(xy: NDArray[np.float64], speed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread SUMO's jumps (a walker who turns changes its stripe at once) to 1 m/s."""
    xy = xy.copy()
    for k in range(1, len(xy)):
        jump = xy[k] - xy[k - 1]
        excess = np.linalg.norm(jump) - STEP * max(speed[k], speed[k - 1]) - 0.1
        if excess > 0:
            steps = int(np.ceil(np.linalg.norm(jump) / STEP))
            fade = np.linspace(1, 0, steps + 1)[: len(xy) - k, None]
            xy[k : k + len(fade)] -= jump * fade
    return xy


def _body(rng: Generator) -> tuple[float, float, float]:
    return 0.45, 0.55, float(rng.uniform(1.52, 1.92))


def _parked(
    rng: Generator, road_map: RoadMap, config: TrafficConfig
) -> list[tuple[float, float, float, str]]:
    """Parked cars (x, y, yaw, type) along the parking lanes, clear of the junctions."""
    places = []
    for lane in road_map.of_kind("parking"):
        free = np.arange(10.0, arc_length(lane.shape)[-1] - 12.0, 6.4)
        free = free[rng.random(len(free)) < config.parked]
        points, headings = along(lane.shape, free + rng.uniform(-0.5, 0.5, len(free)))
        for (x, y), heading in zip(points, headings, strict=True):
            angle = float(heading + rng.normal(0, 0.02))
            places.append((float(x), float(y), angle, str(rng.choice(_CARS))))
    return places
