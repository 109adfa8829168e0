"""The forecasting node where the map changes under it, and where the road is empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from ros_xai.ros.synchronizers import nanoseconds
from tests.nodes.forecasting_scene import Street, marker, road, tile
from tests.waiting import until


@pytest.mark.parametrize("order", [("map", "map/lane_dividers"), ("map/lane_dividers", "map")])
@pytest.mark.parametrize(("side", "x"), [(20, 0.0), (10, 50.0), (10, 0.0)])
def test_a_map_that_changes_keeps_its_layers(
    street: Callable[..., Street], order: tuple[str, str], side: int, x: float
) -> None:
    """It grows, moves on, or stays where it is; its layers in either order, each sent once."""
    scene = street()
    for topic in ("map", "map/lane_dividers"):
        scene.give_map(tile(10, 0.0, 100), topic)
    scene.give_map(tile(side, x, 40), order[0])
    changed = (side, x) != (10, 0.0)
    assert changed == any("map/lane_dividers" in f.text for f in scene.node.findings())
    scene.give_map(tile(side, x, 40), order[1])
    found = scene.node._traffic.map
    assert found.layers.shape == (side, side, 3) and found.origin.tolist() == [x, 0]
    assert found.layers.reshape(-1, 3).max(0).tolist() == [102, 102, 0]  # 40 % of 255
    assert not scene.node.drops and not list(scene.node.findings())


def removal(action: int, tick: int | None = None, frame: str = "map") -> Marker:
    """A marker that removes; without a tick it has no stamp."""
    header = Header(frame_id=frame) if tick is None else marker(1, 0, tick=tick, frame=frame).header
    return Marker(header=header, action=action)


@pytest.mark.parametrize("action", [Marker.DELETE, Marker.DELETEALL])
def test_an_empty_road_is_answered_under_the_removals_header(
    street: Callable[..., Street], action: int
) -> None:
    scene = street()
    scene.send(marker(1, 0.0, tick=1))
    scene.send(removal(action, tick=2))
    assert all(not len(cloud) for cloud in scene.answers(2).values())
    until(lambda: len(scene.heard["markers"]) == 2)
    assert [m.action for m in scene.heard["markers"][-1].markers] == [Marker.DELETEALL]
    for kept in scene.heard.values():
        last = kept[-1].markers[0] if isinstance(kept[-1], MarkerArray) else kept[-1]
        assert last.header == marker(1, 0.0, tick=2).header
    scene.send(marker(1, 2.4, tick=4))
    assert len(scene.answers(3)["points"])
    assert not scene.node.drops and scene.balanced()


@pytest.mark.parametrize(
    "boxes", [(), (removal(Marker.DELETEALL),), (removal(Marker.DELETEALL, 2, ""),)]
)
def test_an_empty_road_that_nothing_dates_is_answered_now(
    street: Callable[..., Street], boxes: tuple[Marker, ...]
) -> None:
    """The stamps are of 1970 and the node's clock of today: histories go on all the same."""
    scene = street()
    for tick in range(5):
        scene.send(marker(1, 0.8 * tick, tick=tick))
    before = scene.node.get_clock().now().nanoseconds
    scene.send(*boxes)
    assert all(not len(cloud) for cloud in scene.answers(6).values())
    found = scene.heard["points"][-1].header
    assert found.frame_id == "map"
    assert before <= nanoseconds(found.stamp) <= scene.node.get_clock().now().nanoseconds
    until(lambda: len(scene.heard["markers"]) == 6)
    assert [m.action for m in scene.heard["markers"][-1].markers] == [Marker.DELETEALL]
    scene.send(marker(1, 4.0, tick=5))
    ahead = scene.answers(7)["points"]
    assert np.mean(ahead["x"][ahead["t"] == 0.5]) > 6  # it is known to move, at 8 m/s from 4 m
    assert not scene.node.drops and scene.balanced()


def test_an_empty_road_before_anything_is_known_is_passed_over(
    street: Callable[..., Street],
) -> None:
    scene = street()
    scene.send()
    assert scene.node.drops == {"tracks.superseded": 1} and scene.balanced()
    assert not any("dropped" in finding.text for finding in scene.node.monitor.findings())
    scene.give_map(road())
    scene.send()
    scene.answers(1)
    assert scene.heard["points"][0].header.frame_id == "map"
