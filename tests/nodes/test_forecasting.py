"""The forecasting node through real rclpy: its answers, and what it makes of bad input."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from ros_xai.core.config import from_mapping
from ros_xai.data.forecasting import HISTORY, RECENT, Tracks
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.nodes.forecasting import ForecastingNode
from ros_xai.nodes.forecasting_config import ForecastingConfig
from ros_xai.nodes.traffic import MAP_TOPICS
from ros_xai.ros import maps, pointclouds, qos
from ros_xai.ros.parameters import markdown_table
from ros_xai.ros.synchronizers import nanoseconds
from tests.waiting import until

ROOT = Path(__file__).parents[2]
OUTPUTS = ("points", "stability", "attribution")


def marker(
    id: int, x: float, y: float = 0.0, ns: str = "car", tick: int = 0, frame: str = "map"
) -> Marker:
    stamp = Time(sec=100 + tick // 10, nanosec=tick % 10 * 100_000_000)
    made = Marker(header=Header(stamp=stamp, frame_id=frame), ns=ns, id=id)
    made.pose.position.x, made.pose.position.y = x, y
    made.pose.orientation.w = 1.0
    return made


def tile(side: int, x: float, percent: int) -> OccupancyGrid:
    """A square map of `side` cells, all alike."""
    grid = OccupancyGrid(header=Header(frame_id="map"))
    grid.info.resolution, grid.info.width, grid.info.height = 0.5, side, side
    grid.info.origin.position.x, grid.info.origin.orientation.w = x, 1.0
    grid.data = [percent] * side**2
    return grid


def road() -> OccupancyGrid:
    """Drivable for |y| < 5 m, x from -100 to 200."""
    grid = OccupancyGrid(header=Header(frame_id="map"))
    grid.info.resolution, grid.info.width, grid.info.height = 0.5, 600, 60
    grid.info.origin.position.x, grid.info.origin.position.y = -100.0, -15.0
    grid.info.origin.orientation.w = 1.0
    cells = np.zeros((60, 600), np.int8)
    cells[20:40] = 100
    grid.data = cells.ravel().tolist()
    return grid


class Street:
    """The node, a peer that sends tracks and maps and keeps the answers, spun in a thread."""

    def __init__(self, context: Any, **parameters: Any) -> None:
        start = {"qos_overrides./tracks.subscription.reliability": "reliable", **parameters}
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = ForecastingNode(context=context, parameter_overrides=overrides)
        self.peer = Node("peer", context=context)
        self.tracks = self.peer.create_publisher(MarkerArray, "tracks", 10)
        self.maps = {
            topic: self.peer.create_publisher(OccupancyGrid, topic, qos.latched())
            for topic in MAP_TOPICS
        }
        self.heard: dict[str, list[Any]] = {name: [] for name in (*OUTPUTS, "markers")}
        for name, kept in self.heard.items():
            kind = MarkerArray if name == "markers" else PointCloud2
            self.peer.create_subscription(kind, f"forecast/{name}", kept.append, 500)
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        until(lambda: self.tracks.get_subscription_count() == 1)
        until(lambda: all(p.get_subscription_count() == 1 for p in self.maps.values()))
        outputs = [p for p in self.node.publishers if p.topic_name.startswith("/forecast/")]
        until(lambda: all(p.get_subscription_count() for p in outputs))

    def send(self, *boxes: Marker) -> None:
        before = self.node.received["/tracks"]
        self.tracks.publish(MarkerArray(markers=list(boxes)))
        until(lambda: self.node.received["/tracks"] > before and self.node.idle())

    def give_map(self, grid: OccupancyGrid, topic: str = "map") -> None:
        before = self.node.received[f"/{topic}"]
        self.maps[topic].publish(grid)
        until(lambda: self.node.received[f"/{topic}"] > before)

    def answers(self, count: int) -> dict[str, np.ndarray]:
        """The newest clouds, once `count` of each have come."""
        until(lambda: all(len(self.heard[name]) == count for name in OUTPUTS))
        return {name: pointclouds.to_structured(self.heard[name][-1]) for name in OUTPUTS}

    def balanced(self) -> bool:
        node = self.node
        return node.frames_in == node.answered + node.monitor.frame_drops() + node.pending()

    def close(self) -> None:
        for node in (self.node, self.peer):
            self.executor.remove_node(node)
        time.sleep(0.05)  # callbacks that still run need what shutdown takes away
        self.executor.shutdown()
        self.thread.join(5)
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def street(ros_context: Any) -> Iterator[Callable[..., Street]]:
    """Makes forecasting nodes with the given parameters."""
    made: list[Street] = []

    def make(**parameters: Any) -> Street:
        made.append(Street(ros_context, **parameters))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_its_answers_are_the_forecaster_s(street: Callable[..., Street]) -> None:
    scene = street()
    scene.give_map(road())
    for tick in range(25):
        scene.send(
            marker(7, 0.8 * tick, tick=tick),
            marker(9, 20.0, 3.0, ns="pedestrian", tick=tick),
            marker(4, 60 - 0.5 * tick, 2.0, ns="bicycle", tick=tick),
        )
    found = scene.answers(25)
    times = np.arange(1 - HISTORY, 1) * 0.5
    fine = np.arange(1 - RECENT, 1) * 0.1

    def past(t: np.ndarray) -> np.ndarray:
        car = np.stack([0.8 * 24 + 8 * t, 0 * t], axis=-1)
        walker = np.stack([20 + 0 * t, 3 + 0 * t], axis=-1)
        rider = np.stack([60 - 0.5 * 24 - 5 * t, 2 + 0 * t], axis=-1)
        return np.stack([car, walker, rider])

    tracks = Tracks(
        id=np.array(["7", "9", "4"]),
        category=np.array(["vehicle", "pedestrian", "two-wheeler"]),
        xy=past(times),
        yaw=np.zeros((3, HISTORY)),
        recent=past(fine),
    )
    expected = Forecaster.load()(tracks, maps.to_raster(road(), None, None))
    points = found["points"].reshape(2, -1, 12)
    order = np.argsort(-expected.probabilities, axis=1, kind="stable")
    modes = np.take_along_axis(expected.modes, order[..., None, None], axis=1)
    assert points["x"] == pytest.approx(modes[..., 0], abs=1e-4)
    assert points["y"] == pytest.approx(modes[..., 1], abs=1e-4)
    assert points["track_id"][:, 0, 0].tolist() == [7, 4]
    assert points["probability"][:, :, 0].sum(axis=1) == pytest.approx(1)
    assert points["t"][0, 0] == pytest.approx(np.arange(1, 13) * 0.5)
    assert found["attribution"]["map"] == pytest.approx(expected.attribution[:, 1], abs=1e-3)
    assert np.isnan(found["stability"]["dispersion"]).all()
    assert scene.heard["points"][-1].header == marker(7, 0, tick=24).header
    until(lambda: len(scene.heard["markers"]) == 25)
    lines = scene.heard["markers"][-1].markers
    assert [line.action for line in lines] == [Marker.DELETEALL] + [Marker.ADD] * 6
    assert all(len(line.points) == 13 for line in lines[1:])
    assert scene.balanced()


def test_after_six_seconds_it_tells_how_steady_it_was(street: Callable[..., Street]) -> None:
    scene = street(publish_markers=False)
    scene.give_map(road())
    for tick in range(0, 65, 5):
        scene.send(marker(7, 0.8 * tick, tick=tick))
    found = scene.answers(13)["stability"]
    assert np.isfinite(found["dispersion"]).all() and found["dispersion"][0] >= 0
    assert 0 <= found["convergence_1m"][0] <= found["convergence_5m"][0] <= 6
    assert not scene.heard["markers"]


def test_markers_that_nobody_hears_are_not_made(street: Callable[..., Street]) -> None:
    scene = street()
    (unheard,) = [s for s in scene.peer.subscriptions if s.topic_name == "/forecast/markers"]
    (output,) = [p for p in scene.node.publishers if p.topic_name == "/forecast/markers"]
    scene.peer.destroy_subscription(unheard)
    until(lambda: output.get_subscription_count() == 0)
    scene.send(marker(7, 0.0))
    scene.answers(1)
    assert scene.node.published["/forecast/points"] == 1
    assert scene.node.published["/forecast/markers"] == 0


def test_bad_input_is_counted_and_the_node_goes_on(street: Callable[..., Street]) -> None:
    scene = street()
    scene.give_map(road())
    scene.send(marker(1, 0.0, tick=10))
    scene.send(marker(1, 1.0, tick=11, frame="odom"))
    scene.send(marker(1, 1.0, tick=11), marker(2, 1.0, tick=11, frame="odom"))
    scene.send(marker(1, 1.0, tick=11), marker(2, 1.0, tick=12))
    scene.send(marker(1, 1.0, tick=10))
    scene.send(marker(1, float("nan"), tick=12), marker(3, 5.0, ns="unicorn", tick=12))
    scene.send(marker(1, 500.0, tick=13), marker(1, 1.0, tick=13))
    bad = road()
    bad.data = bad.data[:-1]
    scene.give_map(bad)
    scene.send(marker(1, 500.8, tick=14))
    scene.answers(4)
    drops = dict(scene.node.drops)
    assert drops == {
        "tracks.frame": 2,
        "tracks.stamp": 1,
        "tracks.out_of_order": 1,
        "track.bad_pose": 1,
        "track.unknown_class": 1,
        "track.id_switch": 1,
        "track.duplicate_id": 1,
        "map.bad_map": 1,
    }
    assert scene.balanced() and scene.node.answered == 4


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


def test_a_bag_that_begins_anew_is_a_new_beginning(street: Callable[..., Street]) -> None:
    scene = street()
    for tick in (100, 101, 0, 1):
        scene.send(marker(1, 0.8 * tick, tick=tick))
    scene.answers(4)
    assert not scene.node.drops


def test_the_page_lists_the_parameters_as_they_are() -> None:
    page = (ROOT / "docs" / "nodes" / "forecasting.md").read_text()
    assert markdown_table(ForecastingConfig) in page, (
        "docs/nodes/forecasting.md: replace the table of parameters by the output of\n"
        'python -c "from ros_xai.nodes.forecasting_config import *; '
        'from ros_xai.ros.parameters import *; print(markdown_table(ForecastingConfig))"'
    )


def test_the_configuration_file_shows_its_parameters_with_their_defaults() -> None:
    file = yaml.safe_load((ROOT / "config" / "perception.yaml").read_text())
    given = file["/**/forecasting"]["ros__parameters"]
    assert from_mapping(ForecastingConfig, given) == ForecastingConfig()
    own = {field.name for field in dataclasses.fields(ForecastingConfig)}
    shared = {"autostart", "latency_tolerance_ms", "latency_error_after", "input_timeout"}
    assert own - shared == set(given)


@pytest.mark.parametrize("name", ["map.json", "map.osm", "none.json"])
def test_a_map_file_that_is_none_is_named(ros_context: Any, tmp_path: Path, name: str) -> None:
    if name != "none.json":
        (tmp_path / name).write_text("{}")
    overrides = [Parameter("map_file", value=str(tmp_path / name))]
    node = ForecastingNode(context=ros_context, parameter_overrides=overrides)
    assert node.state == "unconfigured"
    assert {"map.json": "expected an Argoverse 2 or world map", "map.osm": "map_origin"}.get(
        name, "none.json"
    ) in node.failure
    node.destroy_node()
