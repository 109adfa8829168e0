"""The explanation node beside the forecasting node, through real rclpy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.forecasting.network import Network, NetworkConfig
from ros_xai.nodes.explanation import ExplanationNode
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.nodes.forecasting import ForecastingNode
from ros_xai.ros import images, qos
from tests.nodes.forecasting_scene import marker, road
from tests.waiting import until

MARGIN, SCALE = 52.0, 6  # m ahead in a crop; pixels of the picture in a metre
SIDE = 24.0
QUICK = {"task": "forecasting", "target": "7", "on_request": True, "idle": False,
         "budget_ms": 1e5, "ms_per_second": 1000.0, "publish_every": 40}  # fmt: skip


def moment(tick: int, earlier: int = 0) -> MarkerArray:
    """7 drives along x, 8 m/s; 8 keeps 15 m ahead of it and 3 m to the left; 9 is far away.

    earlier: ticks by which the stamps are earlier than where the cars are.
    """
    x, at = 0.8 * tick, tick - earlier
    cars = ((7, x, 0.0), (8, x + 15, 3.0), (9, x + 400, 0.0))
    return MarkerArray(markers=[marker(*car, tick=at) for car in cars])


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A forecaster whose context has a say."""
    torch.manual_seed(3)
    network = Network(NetworkConfig(block=8, decoder=12)).eval()
    with torch.no_grad():
        network.decoder.start.weight.mul_(4)
    path = tmp_path_factory.mktemp("weights") / "forecaster.safetensors"
    Forecaster(network).save(path)
    return path


class Street:
    """Both nodes, and a peer that sends tracks and the map and keeps what comes out."""

    def __init__(self, context: Any, weights: Path, **parameters: Any) -> None:
        reliable = {
            f"qos_overrides./{topic}.subscription.reliability": "reliable"
            for topic in ("tracks", "forecast/points")
        }
        common = {"weights": str(weights), **reliable}
        made = (
            (ForecastingNode, common),
            (ExplanationNode, {**common, **QUICK, **parameters}),
        )
        self.forecasting, self.explanation = (
            kind(
                context=context,
                parameter_overrides=[Parameter(n, value=v) for n, v in given.items()],
            )
            for kind, given in made
        )
        self.peer = Node("peer", context=context)
        self.tracks = self.peer.create_publisher(MarkerArray, "tracks", 10)
        self.map = self.peer.create_publisher(OccupancyGrid, "map", qos.latched())
        self.points: dict[int, bytes] = {}
        self.heatmaps: list[Image] = []
        self.overlays: list[Image] = []
        self.reports: list[DiagnosticArray] = []
        self.peer.create_subscription(PointCloud2, "forecast/points", self._on_points, 50)
        for topic, kind, seen in (
            ("heatmap", Image, self.heatmaps),
            ("overlay", Image, self.overlays),
            ("faithfulness", DiagnosticArray, self.reports),
        ):
            self.peer.create_subscription(kind, f"explanation/{topic}", seen.append, 50)
        self.client = self.peer.create_client(Trigger, "/explanation/explain")
        self.nodes = [self.forecasting, self.explanation, self.peer]
        self.executor = SingleThreadedExecutor(context=context)
        for node in self.nodes:
            self.executor.add_node(node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        until(lambda: self.tracks.get_subscription_count() == 2)
        until(lambda: self.map.get_subscription_count() == 2)
        until(lambda: self.forecasting._points.get_subscription_count() == 2)
        until(lambda: self.explanation._faithfulness.get_subscription_count() == 1)
        until(self.client.service_is_ready)
        self.map.publish(road())
        both = (self.forecasting, self.explanation)
        until(lambda: all(node.received["/map"] for node in both))

    def _on_points(self, message: PointCloud2) -> None:
        stamp = message.header.stamp
        self.points[stamp.sec * 10 + stamp.nanosec // 10**8 - 1000] = bytes(message.data)

    def send(self, tick: int) -> None:
        """The tracks of one instant, and waits for their forecast at both who hear it."""
        answers = self.explanation.received["/forecast/points"]
        self.tracks.publish(moment(tick))
        until(lambda: tick in self.points)
        until(lambda: self.explanation.received["/forecast/points"] > answers)

    def ask(self) -> None:
        asked = self.client.call_async(Trigger.Request())
        until(asked.done)
        assert asked.result().success

    def explained(self, tick: int) -> dict[str, str]:
        """Asks, sends the tracks of an instant, and returns the report of its explanation."""
        before = len(self.reports)
        self.ask()
        self.send(tick)
        until(lambda: len(self.reports) > before)
        assert self.reports[-1].header == moment(tick).markers[0].header
        return {pair.key: pair.value for pair in self.reports[-1].status[0].values}

    def close(self) -> None:
        self.executor.shutdown()
        self.thread.join(10)
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def streets(ros_context, weights) -> Iterator[Callable[..., Street]]:
    made: list[Street] = []

    def make(**parameters: Any) -> Street:
        made.append(Street(ros_context, weights, **parameters))
        return made[-1]

    yield make
    for street in made:
        street.close()


def test_a_forecast_is_explained_by_its_neighbours_and_by_the_map(streets) -> None:
    street = streets(by="neighbours")
    for tick in range(5):
        street.send(tick)
    assert not street.heatmaps and street.explanation.answered == 0
    figures = street.explained(5)
    assert figures["target"] == "shift of the forecast end point"
    # What is explained is what was published, to float32.
    assert float(figures["metres_from_published"]) < 1e-3
    heat = images.to_array(street.heatmaps[-1])
    v, u = np.unravel_index(heat.argmax(), heat.shape)
    assert (u, v) == pytest.approx(((SIDE - 3) * SCALE, (MARGIN - 15) * SCALE), abs=9)
    # The one neighbour in range is all there is: without the other, no importance elsewhere.
    assert heat.max() > 0 and (heat > 0).mean() < 0.01
    assert street.explanation.set_parameters(
        [Parameter("by", value="map"), Parameter("rows", value=8), Parameter("columns", value=6)]
    )[0].successful
    figures = street.explained(6)
    assert float(figures["metres_from_published"]) < 1e-3
    heat = images.to_array(street.heatmaps[-1])
    cells = np.abs(heat).reshape(8, 8 * SCALE, 6, 8 * SCALE).mean((1, 3))
    # 10 m of road lie in the two columns of 8 m in the middle, what is beside it is nothing: only
    # the interpolation reaches beyond, and rings a little.
    assert cells[:, 2:4].sum() > 25 * cells[:, [0, 5]].sum()
    shown = images.to_rgb(street.overlays[-1])
    assert shown.shape == (64 * SCALE, 48 * SCALE, 3)
    assert len(street.heatmaps) == len(street.overlays)


def test_forecasts_are_the_same_bytes_with_and_without_requests(streets) -> None:
    street = streets()
    ticks = range(6)
    for tick in ticks:
        street.ask()
        street.send(tick)
    until(lambda: street.reports)
    with_requests = [street.points[tick] for tick in ticks]
    street.explanation.trigger_deactivate()
    for tick in ticks:  # the stamps fall back: a new beginning
        street.tracks.publish(moment(tick, earlier=500))
        until(lambda: tick - 500 in street.points)  # noqa: B023
    assert with_requests == [street.points[tick - 500] for tick in ticks]


def test_what_cannot_be_explained_is_a_counted_drop(streets) -> None:
    street = streets(target="unicorn", on_request=False)
    street.send(0)
    until(lambda: street.explanation.drops["answer.target"] == 1)
    alone = [Parameter("target", value="9"), Parameter("by", value="neighbours")]
    assert all(result.successful for result in street.explanation.set_parameters(alone))
    street.send(1)
    until(lambda: street.explanation.drops["answer.target"] == 2)
    points = street.peer.create_publisher(PointCloud2, "forecast/points", 10)
    until(lambda: points.get_subscription_count() == 2)
    points.publish(PointCloud2(header=Header(stamp=Time(sec=1), frame_id="map"), width=1))
    until(lambda: street.explanation.drops["answer.unpaired"] == 1)
    assert street.explanation.answered == 0
    wrong = street.explanation.set_parameters([Parameter("by", value="lidar")])[0]
    assert not wrong.successful and "map or neighbours" in wrong.reason


def test_an_empty_road_is_passed_over_and_the_request_stays(streets) -> None:
    street = streets(by="map")
    street.send(0)
    street.ask()
    heard = street.explanation.received["/forecast/points"]
    street.tracks.publish(MarkerArray())
    until(lambda: street.explanation.received["/forecast/points"] > heard)
    assert street.explanation.drops == {"answer.superseded": 2}
    street.send(1)
    until(lambda: street.reports)
    assert street.reports[0].header == moment(1).markers[0].header
    assert street.explanation.drops == {"answer.superseded": 2}


def test_what_is_masked_fits_the_task() -> None:
    with pytest.raises(ValueError, match="expected map or neighbours for task forecasting"):
        ExplanationConfig(task="forecasting", by="image")
    with pytest.raises(ValueError, match="expected image for task segmentation"):
        ExplanationConfig(task="segmentation", by="lidar")
