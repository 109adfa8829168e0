"""Seeded road networks: a street plan in SUMO's plain XML, joined into lanes by ``netconvert``."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


@dataclass(frozen=True)
class NetworkConfig:
    """Street plan. Lengths in metres, shares in [0, 1]."""

    columns: int = 5
    rows: int = 4
    block: float = 110.0
    jitter: float = 14.0
    removed: float = 0.06  # share of streets taken out: leaves T-junctions
    curved: float = 0.35  # share of streets that bend
    bend: float = 0.16  # sagitta of a bend over its chord
    roundabouts: int = 1
    lights: float = 0.6  # share of junctions with traffic lights
    two_lane: float = 0.35  # share of avenues with two lanes each way
    parking: float = 0.6  # share of avenues with a parking lane
    bicycle_lane: float = 0.2


NETWORKS: dict[str, NetworkConfig] = {
    "town": NetworkConfig(),
    "grid": NetworkConfig(removed=0.0, curved=0.0, roundabouts=0, jitter=4.0),
    "tee": NetworkConfig(removed=0.1, curved=0.1, roundabouts=0, lights=0.3),
    "curves": NetworkConfig(curved=1.0, bend=0.24, roundabouts=0, removed=0.2),
    "roundabouts": NetworkConfig(roundabouts=4, block=130.0, lights=0.2),
}


@dataclass(frozen=True)
class Street:
    """One two-way street (one-way when it is part of a roundabout)."""

    start: str
    end: str
    shape: NDArray[np.float64]  # [P, 2] from start to end
    lanes: int = 1
    parking: float = 0.0  # width of the parking lane, 0 = none
    bicycle: float = 0.0
    sidewalk: float = 3.0
    speed: float = 11.1
    one_way: bool = False


@dataclass
class Plan:
    """Junction positions, their control, and the streets between them."""

    nodes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    lights: set[str] = field(default_factory=set)
    streets: list[Street] = field(default_factory=list)


def build_network(seed: int, network: str | NetworkConfig = "town") -> bytes:
    """The ``.net.xml`` of a seeded street plan.

    Raises:
        ValueError: the name is none of ``NETWORKS``.
        RuntimeError: netconvert refused the plan.
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ValueError(f"expected a network of {sorted(NETWORKS)}, got {network!r}")
        network = NETWORKS[network]
    return _netconvert(street_plan(np.random.default_rng([seed, 1]), network))


def street_plan(rng: Generator, config: NetworkConfig) -> Plan:
    """Jittered grid with streets removed (T-junctions), bent, and junctions made roundabouts."""
    plan = Plan()
    width, height = config.columns, config.rows
    for i in range(width):
        for j in range(height):
            jitter = rng.uniform(-config.jitter, config.jitter, 2)
            plan.nodes[_name(i, j)] = np.array([i, j]) * config.block + jitter
    pairs = [
        (_name(i, j), _name(i + 1, j), f"r{j}") for i in range(width - 1) for j in range(height)
    ]
    pairs += [
        (_name(i, j), _name(i, j + 1), f"c{i}") for i in range(width) for j in range(height - 1)
    ]
    pairs = _thin_out(rng, pairs, config.removed)
    avenues = {a: _avenue(rng, config) for a in sorted({avenue for _, _, avenue in pairs})}
    for start, end, avenue in pairs:
        shape = _bend(rng, plan.nodes[start], plan.nodes[end], config)
        plan.streets.append(replace(avenues[avenue], start=start, end=end, shape=shape))
    degree = _degrees(pairs)
    for node in plan.nodes:
        if degree[node] >= 3 and rng.random() < config.lights:
            plan.lights.add(node)
    candidates = [n for n in plan.nodes if degree[n] >= 3]
    for node in rng.permutation(candidates)[: config.roundabouts]:
        _roundabout(plan, str(node), radius=float(rng.uniform(13.0, 18.0)))
    return plan


def _name(i: int, j: int) -> str:
    return f"n{i}x{j}"


def _degrees(pairs: list[tuple[str, str, str]]) -> dict[str, int]:
    degree: dict[str, int] = {}
    for start, end, _ in pairs:
        degree[start] = degree.get(start, 0) + 1
        degree[end] = degree.get(end, 0) + 1
    return degree


def _thin_out(
    rng: Generator, pairs: list[tuple[str, str, str]], share: float
) -> list[tuple[str, str, str]]:
    """Remove a share of streets, first where crossings have most arms.

    No dead end appears and the plan stays in one piece.
    """
    target = len(pairs) - round(share * len(pairs))
    while len(pairs) > target:
        degree = _degrees(pairs)
        order = sorted(
            rng.permutation(len(pairs)).tolist(),
            key=lambda k: -min(degree[pairs[k][0]], degree[pairs[k][1]]),
        )
        for k in order:
            rest = pairs[:k] + pairs[k + 1 :]
            left = _degrees(rest)
            if len(left) == len(degree) and min(left.values()) >= 2 and _joined(rest):
                pairs = rest
                break
        else:
            return pairs
    return pairs


def _joined(pairs: list[tuple[str, str, str]]) -> bool:
    neighbours: dict[str, set[str]] = {}
    for start, end, _ in pairs:
        neighbours.setdefault(start, set()).add(end)
        neighbours.setdefault(end, set()).add(start)
    reached, frontier = set(), [next(iter(neighbours))]
    while frontier:
        node = frontier.pop()
        if node not in reached:
            reached.add(node)
            frontier.extend(neighbours[node])
    return len(reached) == len(neighbours)


def _avenue(rng: Generator, config: NetworkConfig) -> Street:
    """Cross-section shared by all streets of one row or column."""
    return Street(
        "",
        "",
        np.empty((0, 2)),
        lanes=2 if rng.random() < config.two_lane else 1,
        parking=2.3 if rng.random() < config.parking else 0.0,
        bicycle=1.6 if rng.random() < config.bicycle_lane else 0.0,
        sidewalk=float(rng.uniform(2.4, 4.0)),
        speed=float(rng.choice([8.3, 11.1, 13.9])),
    )


def _bend(
    rng: Generator, start: NDArray[np.float64], end: NDArray[np.float64], config: NetworkConfig
) -> NDArray[np.float64]:
    """Straight chord, or a quadratic Bezier arc through a shifted middle point."""
    if rng.random() >= config.curved:
        return np.stack([start, end])
    chord = end - start
    normal = np.array([-chord[1], chord[0]])
    control = (start + end) / 2 + normal * 2 * rng.uniform(-config.bend, config.bend)
    t = np.linspace(0, 1, 15)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end


def _roundabout(plan: Plan, node: str, radius: float) -> None:
    """Replace a junction by a one-way ring, counter-clockwise, with one entry per street."""
    centre = plan.nodes.pop(node)
    plan.lights.discard(node)
    arms: list[tuple[float, str]] = []
    for k, street in enumerate(plan.streets):
        if node not in (street.start, street.end):
            continue
        shape = street.shape if street.start == node else street.shape[::-1]
        outside = shape[np.linalg.norm(shape - centre, axis=1) > radius + 8.0]
        angle = math.atan2(*(outside[0] - centre)[::-1])
        entry = centre + radius * np.array([math.cos(angle), math.sin(angle)])
        name = f"{node}_{k}"
        plan.nodes[name] = entry
        arms.append((angle, name))
        other = street.end if street.start == node else street.start
        plan.streets[k] = replace(
            street, start=name, end=other, shape=np.vstack([entry, outside]), lanes=1
        )
    arms.sort()
    for (angle, name), (following, target) in zip(arms, arms[1:] + arms[:1], strict=True):
        sweep = (following - angle) % (2 * math.pi)
        arc = angle + np.linspace(0, sweep, max(4, round(sweep * 6)))
        shape = centre + radius * np.stack([np.cos(arc), np.sin(arc)], axis=1)
        plan.streets.append(Street(name, target, shape, speed=7.0, one_way=True))


def _edges(plan: Plan) -> Iterator[ElementTree.Element]:
    for street in plan.streets:
        yield _edge(street, street.start, street.end, street.shape)
        if not street.one_way:
            yield _edge(street, street.end, street.start, street.shape[::-1])


def _edge(street: Street, start: str, end: str, shape: NDArray[np.float64]) -> ElementTree.Element:
    lanes: list[dict[str, str]] = [{"allow": "pedestrian", "width": f"{street.sidewalk:.2f}"}]
    if street.parking:
        lanes.append({"disallow": "all", "width": f"{street.parking:.2f}"})
    if street.bicycle:
        lanes.append({"allow": "bicycle", "width": f"{street.bicycle:.2f}"})
    lanes += [{"disallow": "pedestrian", "width": "3.30"}] * street.lanes
    edge = ElementTree.Element(
        "edge",
        {
            "id": f"{start}.{end}",
            "from": start,
            "to": end,
            "priority": str(street.lanes + 2 * street.one_way),
            "numLanes": str(len(lanes)),
            "speed": f"{street.speed:.2f}",
            "shape": " ".join(f"{x:.3f},{y:.3f}" for x, y in shape),
        },
    )
    for index, lane in enumerate(lanes):
        ElementTree.SubElement(edge, "lane", {"index": str(index), **lane})
    return edge


def _netconvert(plan: Plan) -> bytes:
    nodes = ElementTree.Element("nodes")
    for name, (x, y) in plan.nodes.items():
        control = "traffic_light" if name in plan.lights else "priority"
        attributes = {"id": name, "x": f"{x:.3f}", "y": f"{y:.3f}", "type": control}
        ElementTree.SubElement(nodes, "node", attributes)
    edges = ElementTree.Element("edges")
    edges.extend(_edges(plan))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "plan.nod.xml").write_bytes(ElementTree.tostring(nodes))
        (root / "plan.edg.xml").write_bytes(ElementTree.tostring(edges))
        command = [str(_sumo_home() / "bin" / "netconvert"), "-n", "plan.nod.xml"]
        command += ["-e", "plan.edg.xml", "-o", "net.xml", "--no-turnarounds", "true"]
        command += ["--walkingareas", "true", "--crossings.guess", "true"]
        command += ["--junctions.corner-detail", "8", "--junctions.internal-link-detail", "14"]
        command += ["--default.junctions.radius", "10", "--junctions.limit-turn-speed", "3.5"]
        command += ["--tls.cycle.time", "44", "--default.crossing-width", "3.5"]
        command += ["--offset.disable-normalization", "true", "--output.street-names", "false"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"netconvert refused the street plan: {done.stderr.strip()}")
        return (root / "net.xml").read_bytes()


def _sumo_home() -> Path:
    import sumo

    home = Path(sumo.SUMO_HOME)
    os.environ.setdefault("SUMO_HOME", str(home))
    return home
