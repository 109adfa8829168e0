"""Traffic of a seeded network by SUMO: tracks, signals and lights at 10 Hz.

``libsumo`` is one simulation per process: run several in several processes.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from zlib import crc32

import numpy as np

from ros_xai.world.demand import CARS, TYPES, TrafficConfig, demand
from ros_xai.world.network import NetworkConfig, build_network
from ros_xai.world.road_map import RoadMap, along, arc_length, read_map

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

STEP = 0.1  # seconds
_BEFORE, _AFTER = 80, 10  # steps recorded around a drive, so that its tracks have smooth ends
_SLACK = 0.1  # metres that a step may exceed its speed by: lanes change, polylines bend
RIGHT, LEFT, BRAKE = 1, 2, 8  # SUMO's bits of the vehicle signals
LIGHT_STATES = "ruyYgGoO"  # SUMO's letters; the index is what ``Traffic.lights`` holds


@dataclass(frozen=True)
class Traffic:
    """T steps of A agents; the ego is agent 0. NaN where an agent is absent.

    time [T] s; names [A] stay an agent's own when a drive is made longer; size [A, 3] length,
    width, height in m; xy [T, A, 2] centres in the map frame; yaw [T, A] rad; speed [T, A] m/s;
    signals [T, A] SUMO bits; lights [T, L] index into ``LIGHT_STATES`` per signal of the map.
    """

    time: NDArray[np.float64]
    names: tuple[str, ...]
    category: tuple[str, ...]
    parked: NDArray[np.bool_]
    size: NDArray[np.float32]
    xy: NDArray[np.float32]
    yaw: NDArray[np.float32]
    speed: NDArray[np.float32]
    signals: NDArray[np.uint8]
    lights: NDArray[np.uint8]
    road_map: RoadMap


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
    if not 0 < seconds < np.inf:
        raise ValueError(f"expected a positive duration in seconds, got {seconds}")
    config = config or TrafficConfig()
    net_xml = build_network(seed, network)
    road_map = read_map(net_xml)
    # drivers look along their routes: in large steps, so that a longer drive is the same traffic
    horizon = 120.0 * np.ceil((config.warm_up + seconds + 1) / 120.0)
    routes = demand(seed, road_map, config, float(horizon))
    warm_up, steps = round(config.warm_up / STEP), round(seconds / STEP) + 1
    before = min(_BEFORE, warm_up)
    recorded = before + steps + _AFTER
    states, lights = _run(seed, net_xml, routes, road_map, warm_up - before, recorded)
    window = slice(before, before + steps)
    names = [n for n in states if any(window.start <= r[0] < window.stop for r in states[n][1])]
    names.sort(key=lambda name: (name != "ego", name[0], len(name), name))
    return _assemble(seed, road_map, config, {n: states[n] for n in names}, lights, window)


_State = dict[str, tuple[str, list[tuple[int, float, float, float, float, int]]]]


def _run(
    seed: int,
    net_xml: bytes,
    routes: ElementTree.Element,
    road_map: RoadMap,
    warm_up: int,
    steps: int,
) -> tuple[_State, NDArray[np.uint8]]:
    """States by agent (type; step, x, y, angle, speed, signals) and lights [T, L]."""
    os.environ["LIBSUMO_AS_TRACI"] = "quiet"  # else it prints about pyarrow on standard output
    import libsumo as sumo

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.xml").write_bytes(net_xml)
        (Path(folder) / "demand.xml").write_bytes(ElementTree.tostring(routes))
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
    seed: int,
    road_map: RoadMap,
    config: TrafficConfig,
    states: _State,
    lights: NDArray[np.uint8],
    window: slice,
) -> Traffic:
    """Tracks of the agents and of the parked cars, over the steps of ``window``."""
    places = _parked(np.random.default_rng([seed, 12]), road_map, config)
    moving, agents = len(states), len(states) + len(places)
    shape = (len(lights), agents)
    xy, yaw, speed = np.full((*shape, 2), np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    signals, size = np.zeros(shape, np.uint8), np.zeros((agents, 3), np.float32)
    names, category = list(states), []
    for k, (name, (kind, rows)) in enumerate(states.items()):
        category.append(kind.split("_")[0])
        size[k] = TYPES[kind][:3] if kind in TYPES else _body(seed, name)
        step, values = np.array([r[0] for r in rows]), np.array([r[1:] for r in rows])
        xy[step, k], yaw[step, k] = _track(values, kind, float(size[k, 0]))
        speed[step, k], signals[step, k] = _pace(xy[step, k]), values[:, 4]
    for k, (x, y, heading, kind) in enumerate(places, start=moving):
        names.append(f"parked{k - moving}")
        category.append("car")
        size[k], xy[:, k], yaw[:, k], speed[:, k] = TYPES[kind][:3], (x, y), heading, 0.0
    return Traffic(
        np.arange(window.stop - window.start) * STEP,
        tuple(names),
        tuple(category),
        np.arange(agents) >= moving,
        size,
        xy[window].astype(np.float32),
        np.angle(np.exp(1j * yaw[window])).astype(np.float32),
        speed[window].astype(np.float32),
        signals[window],
        lights[window],
        road_map,
    )


def _track(
    values: NDArray[np.float64], kind: str, length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres [T, 2] and headings [T] from SUMO's x, y, angle, speed, signals [T, 5]."""
    heading = _smooth(np.unwrap(np.pi / 2 - np.deg2rad(values[:, 2])))
    direction = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    # SUMO gives the front bumper of vehicles, the centre of persons
    back = 0.0 if kind == "pedestrian" else length / 2
    centre = values[:, :2] - direction * back
    track = _bridge(_swing_out(values[:, :2], centre, back), values[:, 3])
    # twice: once takes the steps out of the positions, once out of the velocities
    return _smooth(_smooth(track), half=2), heading


def _smooth(values: NDArray[np.float64], half: int = 3) -> NDArray[np.float64]:
    """Centred moving average [T] or [T, 2]: lanes are polylines that may miss each other by 1 m."""
    if len(values) <= half:
        return values
    pad = [(half, half), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, pad, mode="reflect", reflect_type="odd")
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    return np.asarray(window.mean(axis=-1), np.float64)


def _pace(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Speed [T] in m/s of a track [T, 2]."""
    if len(xy) < 2:
        return np.zeros(len(xy))
    return np.asarray(np.linalg.norm(np.gradient(xy, STEP, axis=0), axis=1), np.float64)


def _swing_out(
    front: NDArray[np.float64], centre: NDArray[np.float64], back: float
) -> NDArray[np.float64]:
    """Centres of a vehicle that takes its turns wide, as drivers of long ones do.

    SUMO keeps both ends on the lane, so that the middle cuts the corner by the sagitta: half of
    it goes to the outside. ``back`` is the distance from the front to the centre, m.
    """
    if back < 2.5:
        return centre
    gone = arc_length(front)
    path = np.stack([np.interp(gone - back, gone, front[:, k]) for k in range(2)], axis=1)
    # where the vehicle came from is known once it has gone that far; it swings out over 5 m
    share = np.clip((gone - back) / 5.0, 0, 1)[:, None]
    return centre + share * (path - centre) / 2


def _bridge(xy: NDArray[np.float64], speed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread SUMO's jumps (a walker who turns changes its stripe at once) to 0.5 m/s."""
    xy = xy.copy()
    for k in range(1, len(xy)):
        jump = xy[k] - xy[k - 1]
        length = float(np.linalg.norm(jump))
        excess = length - STEP * max(speed[k], speed[k - 1]) - _SLACK
        if excess > 0:
            steps = int(np.ceil(excess / (_SLACK / 2)))
            fade = np.linspace(1, 0, steps + 1)[: len(xy) - k, None]
            xy[k : k + len(fade)] -= jump * (excess / length) * fade
    return xy


def _body(seed: int, name: str) -> tuple[float, float, float]:
    rng = np.random.default_rng([seed, 13, crc32(name.encode())])
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
            places.append((float(x), float(y), angle, str(rng.choice(CARS))))
    return places


def footprints(traffic: Traffic, step: int, agents: NDArray[np.intp]) -> NDArray[np.float64]:
    """Corners [A, 4, 2] of agents at a step, map frame, in order around each."""
    yaw = traffic.yaw[step, agents].astype(np.float64)
    half = traffic.size[agents, :2].astype(np.float64) / 2
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=1) * half[:, :1]
    left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1) * half[:, 1:]
    centre = traffic.xy[step, agents].astype(np.float64)
    corners = [centre + ahead + left, centre - ahead + left, centre - ahead - left]
    return np.stack([*corners, centre + ahead - left], axis=1)
