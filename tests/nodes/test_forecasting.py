"""The forecasting node through real rclpy: its answers, and what it makes of bad input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rclpy.parameter import Parameter
from visualization_msgs.msg import Marker

from ros_xai.core.config import from_mapping
from ros_xai.data.forecasting import HISTORY, RECENT, Tracks
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.nodes.forecasting import ForecastingNode
from ros_xai.nodes.forecasting_config import ForecastingConfig
from ros_xai.ros import maps
from ros_xai.ros.parameters import markdown_table
from tests.nodes.forecasting_scene import Street, marker, road
from tests.waiting import until

ROOT = Path(__file__).parents[2]


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
