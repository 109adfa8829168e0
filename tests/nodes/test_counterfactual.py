"""The counterfactual node through real rclpy: asked, it explains the next image, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.parameter import Parameter
from safetensors.torch import save_file
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex_decision import (
    DecisionConfig,
    DecisionNetwork,
    decision_card,
    decision_tensors,
)
from ros_xai.generation.image_network import ImageConfig, ImageNetwork
from ros_xai.generation.images import ImageGenerator, StyleBank
from ros_xai.nodes.counterfactual import CounterfactualNode
from ros_xai.nodes.counterfactual_config import CounterfactualConfig
from ros_xai.ros import images
from ros_xai.ros.diagnostics import Monitor
from ros_xai.ros.parameters import markdown_table
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from tests.spinning import Spinning
from tests.waiting import until

DOCS = Path(__file__).parents[2] / "docs"


def saved(path: Path, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> str:
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path)
    path.with_suffix(".json").write_text(json.dumps(card))
    return str(path)


def weights(folder: Path) -> dict[str, str]:
    torch.manual_seed(0)
    shape = NetworkConfig(classes=len(CAMVID), widths=(4, 8, 8, 8), blocks=1, decoder=8)
    segmenter = save_bundle(
        folder / "segmenter.safetensors", SegmentationNetwork(shape).eval(), CAMVID, {}
    )
    network = ImageNetwork(ImageConfig(style=8, encoder=(4, 6, 8), layout=4, widths=(8, 8, 8)))
    codes, present = torch.rand(2, len(CAMVID), 8), torch.ones(2, len(CAMVID), dtype=torch.bool)
    painter = ImageGenerator(network, StyleBank(codes, present), CAMVID.names)
    pair = [DecisionNetwork(DecisionConfig((4, 6, 8))).eval() for _ in range(2)]
    return {
        "segmentation_weights": str(segmenter),
        "image_weights": saved(folder / "image.safetensors", painter.tensors(), painter.card()),
        "weights": saved(
            folder / "may_move.safetensors", decision_tensors(*pair), decision_card(*pair)
        ),
    }


def picture(stamp: int) -> Image:
    pixels = np.random.default_rng(stamp).integers(0, 255, (48, 96, 3), np.uint8)
    return images.to_message(pixels, "rgb8", Header(stamp=Time(sec=stamp), frame_id="camera"))


class Car:
    """The node, a peer that sends images, asks and keeps what is said, and their executor."""

    def __init__(self, context: Any, parameters: dict[str, Any]) -> None:
        compressed = parameters.get("image_transport") == "compressed"
        self.topic = "image/compressed" if compressed else "image"
        start = {
            f"qos_overrides./{self.topic}.subscription.reliability": "reliable",
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = CounterfactualNode(context=context, parameter_overrides=overrides)
        self.peer = Node("peer", context=context)
        kind = CompressedImage if compressed else Image
        self.sender = self.peer.create_publisher(kind, self.topic, 10)
        self.told: list[DiagnosticArray] = []
        self.shown: list[Image] = []
        self.peer.create_subscription(
            DiagnosticArray, "counterfactual/decision", self.told.append, 50
        )
        self.peer.create_subscription(Image, "counterfactual/side_by_side", self.shown.append, 10)
        self.client = self.peer.create_client(Trigger, "counterfactual/explain")
        self.spinning = Spinning(context, self.node, self.peer)
        until(lambda: self.sender.get_subscription_count() == 1)
        until(lambda: self.node._decision.get_subscription_count() == 1)
        until(lambda: self.node._pictures["side_by_side"].get_subscription_count() == 1)
        until(self.client.service_is_ready)

    def ask(self) -> Trigger.Response:
        future = self.client.call_async(Trigger.Request())
        until(future.done)
        return future.result()

    def send(self, stamp: int) -> None:
        message = picture(stamp)
        if self.topic != "image":
            message = images.compress(images.to_rgb(message), "png", header=message.header)
        before = self.node.received[f"/{self.topic}"]
        self.sender.publish(message)
        until(lambda: self.node.received[f"/{self.topic}"] > before and self.node.idle())

    def last(self) -> dict[str, str]:
        return {v.key: v.value for v in self.told[-1].status[0].values}

    def close(self) -> None:
        self.spinning.close()


@pytest.fixture
def car(ros_context: Any, tmp_path: Path) -> Iterator[Callable[..., Car]]:
    made: list[Car] = []

    def make(**parameters: Any) -> Car:
        made.append(Car(ros_context, {**weights(tmp_path), "steps": 5, **parameters}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_only_the_image_after_a_request_is_explained_and_every_step_is_told(car):
    c = car()
    c.send(1)
    assert c.node.drops["image.superseded"] == 1
    answer = c.ask()
    assert answer.success and "next image" in answer.message
    c.send(2)
    until(lambda: c.shown and "success" in c.last())
    c.send(3)
    assert c.node.answered == 1
    assert len(c.shown) == 1
    assert c.shown[0].header == picture(2).header
    assert c.shown[0].width == 3 * 4 * 32  # before, after, difference, each enlarged four times
    steps = [m.status[0].values[0].value for m in c.told[:-1]]
    assert steps == [str(i) for i in range(len(steps))]
    assert 1 <= len(steps) <= 6
    figures = c.last()
    assert {"image", "reconstruction", "counterfactual", "changed"} <= set(figures)
    last_step = {v.key: v.value for v in c.told[-2].status[0].values}
    assert figures["counterfactual"] == last_step["probability"]


def test_a_compressed_image_is_explained(car):
    c = car(image_transport="compressed")
    c.ask()
    c.send(1)
    until(lambda: c.shown)
    assert c.shown[0].header == picture(1).header
    assert not c.node.drops


def test_regions_that_no_class_bears_are_counted_drops(car):
    c = car(regions="bus")
    c.ask()
    c.send(1)
    assert c.node.drops["image.regions"] == 1
    assert not c.shown


def test_the_seconds_of_a_search_are_no_fault():
    measured = json.loads((DOCS / "results/steex.json").read_text())["figures"]
    seconds = measured["cpu_seconds_per_counterfactual"]
    now = 0.0
    monitor = Monitor("image", lambda: CounterfactualConfig().limits, lambda: now)
    with monitor.working():
        now = seconds
        monitor.frame_in()
        monitor.finish({"inference": 1e3 * seconds})
        assert not monitor.findings()


def test_the_page_lists_the_parameters():
    page = (DOCS / "nodes/counterfactual.md").read_text()
    assert markdown_table(CounterfactualConfig) in page
