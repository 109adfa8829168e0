"""Street plans: what SUMO makes of them, and that they hold what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.world.network import NETWORKS, NetworkConfig, build_network, street_plan
from ros_xai.world.road_map import read_map


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_driving_lane_leads_on(name: str) -> None:
    road_map = read_map(build_network(3, name))
    lanes = road_map.of_kind("drive")
    assert len(lanes) > 50
    for lane in lanes:
        for successor in lane.successors:
            assert successor in road_map.lanes
    edges = {lane.edge for lane in lanes}
    leaving = {lane.edge for lane in lanes if lane.successors}
    assert edges == leaving


def test_same_seed_same_network_other_seed_another() -> None:
    config = NetworkConfig(columns=2, rows=2)
    first, again = build_network(5, config), build_network(5, config)
    # netconvert writes its date and version into a comment at the top
    assert first[first.index(b"<net ") :] == again[again.index(b"<net ") :]
    other = build_network(6, config)
    assert first[first.index(b"<net ") :] != other[other.index(b"<net ") :]


def test_removed_streets_leave_junctions_of_three_arms_and_no_dead_end() -> None:
    plan = street_plan(np.random.default_rng(0), NETWORKS["tee"])
    arms = dict.fromkeys(plan.nodes, 0)
    for street in plan.streets:
        arms[street.start] += 1
        arms[street.end] += 1
    counts = list(arms.values())
    assert min(counts) == 2
    assert counts.count(3) >= 14 and counts.count(4) <= 2


def test_roundabouts_are_closed_rings_counter_clockwise() -> None:
    plan = street_plan(np.random.default_rng(1), NETWORKS["roundabouts"])
    ring = {s.start: s for s in plan.streets if s.one_way}
    assert len(ring) >= 4 * 3
    seen: set[str] = set()
    for start in ring:
        if start in seen:
            continue
        points, node = [], start
        while node not in seen:
            seen.add(node)
            points.append(ring[node].shape)
            node = ring[node].end
        assert node == start
        x, y = np.vstack(points).T
        # the shoelace area of a counter-clockwise outline is positive
        area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
        radius = np.sqrt(area / np.pi)
        assert 11 < radius < 19


def test_curved_streets_bend_by_the_configured_share() -> None:
    config = NetworkConfig(curved=1.0, bend=0.2, removed=0.0, roundabouts=0)
    plan = street_plan(np.random.default_rng(2), config)
    for street in plan.streets:
        chord = street.shape[-1] - street.shape[0]
        normal = np.array([-chord[1], chord[0]]) / np.linalg.norm(chord)
        sagitta = np.abs((street.shape - street.shape[0]) @ normal).max() / np.linalg.norm(chord)
        assert sagitta <= 0.2 + 1e-9
    assert any(len(s.shape) > 2 for s in plan.streets)


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected a network of .*'nowhere'"):
        build_network(0, "nowhere")
