"""The segmentation node through real rclpy: its answers, and classes learnt while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from ros_xai.data.segmentation import Classes
from ros_xai.nodes.segmentation import SegmentationNode
from ros_xai.nodes.segmentation_config import SegmentationConfig
from ros_xai.ros import images, qos
from ros_xai.ros.parameters import markdown_table
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.picture import overlay
from ros_xai.segmentation.segmenter import Segmenter
from tests.spinning import Spinning
from tests.waiting import until

ROOT = Path(__file__).parents[2]
COLORS = ((10, 20, 30), (200, 0, 0), (0, 200, 0))


def bundle(folder: Path, *names: str) -> Path:
    """A tiny network whose channels bear the names."""
    torch.manual_seed(len(names))
    shape = NetworkConfig(classes=len(names), widths=(4, 8, 8, 8), blocks=1, decoder=8)
    classes = Classes(names, COLORS[: len(names)], tuple((i,) for i in range(len(names))))
    path = folder / f"{'_'.join(names)}.safetensors"
    return save_bundle(path, SegmentationNetwork(shape).eval(), classes, {"data": "none"})


def picture(stamp: int) -> Image:
    pixels = np.random.default_rng(stamp).integers(0, 255, (48, 64, 3), np.uint8)
    return images.to_message(pixels, "rgb8", Header(stamp=Time(sec=stamp), frame_id="camera"))


class Camera:
    """The node, a peer that sends images and keeps the answers, and an executor in a thread."""

    def __init__(self, context: Any, weights: Path, **parameters: Any) -> None:
        topic = "image/compressed" if "image_transport" in parameters else "image"
        start = {
            "weights": str(weights),
            f"qos_overrides./{topic}.subscription.reliability": "reliable",
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = SegmentationNode(context=context, parameter_overrides=overrides)
        self.peer = Node("peer", context=context)
        kind = CompressedImage if topic != "image" else Image
        self.sender = self.peer.create_publisher(kind, topic, 10)
        self.topic = topic
        self.labels: list[Image] = []
        self.confidence: list[Image] = []
        self.overlay: list[Image] = []
        self.names: list[String] = []
        for name in ("labels", "confidence", "overlay"):
            kept = getattr(self, name)
            self.peer.create_subscription(Image, f"segmentation/{name}", kept.append, 50)
        self.peer.create_subscription(
            String, "segmentation/label_names", self.names.append, qos.latched()
        )
        self.spinning = Spinning(context, self.node, self.peer)
        until(lambda: self.sender.get_subscription_count() == 1)
        until(lambda: self.node._labels.get_subscription_count() == 1)
        until(lambda: self.node._confidence.get_subscription_count() == 1)

    def send(self, message: Any) -> None:
        before = self.node.received[f"/{self.topic}"]
        self.sender.publish(message)
        until(lambda: self.node.received[f"/{self.topic}"] > before and self.node.idle())

    def answer(self, stamp: int) -> tuple[Image, Image]:
        """Labels and confidence of one picture."""
        expected = len(self.labels) + 1
        self.send(picture(stamp))
        until(lambda: len(self.labels) == len(self.confidence) == expected)
        return self.labels[-1], self.confidence[-1]

    def set_weights(self, path: Path) -> Any:
        return self.node.set_parameters([Parameter("weights", value=str(path))])[0]

    def class_names(self) -> list[str]:
        until(lambda: self.names)
        return [entry["name"] for entry in json.loads(self.names[-1].data)]

    def close(self) -> None:
        self.spinning.close()


@pytest.fixture
def camera(ros_context: Any) -> Iterator[Callable[..., Camera]]:
    """Makes segmentation nodes with the given weights and parameters."""
    made: list[Camera] = []

    def make(weights: Path, **parameters: Any) -> Camera:
        made.append(Camera(ros_context, weights, **parameters))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_answers_are_the_segmenters_with_the_images_header(camera, tmp_path):
    weights = bundle(tmp_path, "road", "sky")
    c = camera(weights)
    labels, confidence = c.answer(3)
    expected = Segmenter.load(weights)(images.to_array(picture(3)))
    assert (labels.encoding, confidence.encoding) == ("mono8", "32FC1")
    assert labels.header == confidence.header == picture(3).header
    np.testing.assert_array_equal(images.to_array(labels), expected.labels)
    np.testing.assert_array_equal(images.to_array(confidence), expected.confidence)
    until(lambda: c.overlay)
    tinted = overlay(images.to_array(picture(3)), expected.labels, Segmenter.load(weights).classes)
    np.testing.assert_array_equal(images.to_array(c.overlay[0]), tinted)


def test_names_and_colours_of_the_labels_are_latched(camera, tmp_path):
    c = camera(bundle(tmp_path, "road", "sky"))
    until(lambda: c.names)  # though this peer came after they were published
    assert json.loads(c.names[0].data) == [
        {"id": 0, "name": "road", "color": [10, 20, 30]},
        {"id": 1, "name": "sky", "color": [200, 0, 0]},
    ]


def test_compressed_images_are_answered_without_an_overlay_where_none_is_wanted(camera, tmp_path):
    c = camera(bundle(tmp_path, "road", "sky"), image_transport="compressed", publish_overlay=False)
    c.send(images.compress(images.to_array(picture(1)), "png", header=picture(1).header))
    until(lambda: c.labels)
    assert c.labels[0].header == picture(1).header
    assert not c.overlay


def test_a_grown_bundle_takes_over_between_two_frames(camera, tmp_path):
    c = camera(bundle(tmp_path, "road", "sky"))
    c.answer(1)
    grown = bundle(tmp_path, "background", "road", "sky")
    assert c.class_names() == ["road", "sky"]
    assert c.set_weights(grown).successful
    labels, _ = c.answer(2)
    expected = Segmenter.load(grown)(images.to_array(picture(2)))
    np.testing.assert_array_equal(images.to_array(labels), expected.labels)
    until(lambda: len(c.names) == 2)
    assert c.class_names() == ["background", "road", "sky"]
    assert c.node.answered == 2 and not c.node.drops
    assert c.node._identity["classes"] == "background, road, sky"


@pytest.mark.parametrize("fault", ["missing", "damaged", "forgets", "not finite"])
def test_a_bundle_that_fails_its_checks_is_refused_and_the_old_one_goes_on(camera, tmp_path, fault):
    first = bundle(tmp_path, "road", "sky")
    c = camera(first)
    before, _ = c.answer(1)
    bad = bundle(tmp_path, "road", "kerb") if fault == "forgets" else tmp_path / "no.safetensors"
    if fault == "damaged":
        bad = bundle(tmp_path, "a", "b", "c")
        bad.write_bytes(bad.read_bytes()[:-8])
    if fault == "not finite":
        network = SegmentationNetwork(
            NetworkConfig(classes=2, widths=(4, 8, 8, 8), blocks=1, decoder=8)
        )
        torch.nn.init.constant_(network.context.weight, torch.inf)
        names = Classes(("road", "sky"), COLORS[:2], ((0,), (1,)))
        bad = save_bundle(tmp_path / "inf.safetensors", network, names, {})
    result = c.set_weights(bad)
    assert not result.successful
    says = {
        "missing": "expected NAME.safetensors",
        "damaged": "the card is of other weights",
        "forgets": "forgets the classes sky",
        "not finite": "not finite",
    }
    assert says[fault] in result.reason
    after, _ = c.answer(1)
    assert after.data == before.data
    assert c.node.config.weights == str(first)
    assert c.class_names() == ["road", "sky"]


@pytest.mark.parametrize(
    ("entry", "value", "says"),
    [
        ("network", None, "NetworkConfig: expected a mapping; got None"),
        ("network", "x", "NetworkConfig: expected a mapping; got 'x'"),
        ("network", {"classes": 3, "widths": [-1, 8, 8, 8]}, "do not fit the card's network"),
        ("network", {"classes": 3, "heads": [["a.b", "fused"]]}, "module name"),
        ("sha256", None, "the card is of other weights"),
        ("classes", 3, "expected NAME.safetensors with its card"),
        ("classes", [{"name": n, "color": "red"} for n in ("a", "road", "sky")], "three numbers"),
    ],
)
def test_a_card_that_holds_what_it_should_not_is_refused_by_the_service(
    camera, tmp_path, entry, value, says
):
    """Through the service, since what a callback raises there would end the executor."""
    first = bundle(tmp_path, "road", "sky")
    c = camera(first)
    before, _ = c.answer(1)
    bad = bundle(tmp_path, "background", "road", "sky")
    card = json.loads(bad.with_suffix(".json").read_text())
    bad.with_suffix(".json").write_text(json.dumps({**card, entry: value}))
    client = c.peer.create_client(SetParameters, "segmentation/set_parameters")
    until(client.service_is_ready)
    change = Parameter("weights", value=str(bad)).to_parameter_msg()
    asked = client.call_async(SetParameters.Request(parameters=[change]))
    until(asked.done)
    (result,) = asked.result().results
    assert not result.successful
    assert says in result.reason
    after, _ = c.answer(1)
    assert after.data == before.data
    assert c.node.config.weights == str(first)


def test_refused_parameters_do_not_leave_a_bundle_behind(camera, tmp_path):
    c = camera(bundle(tmp_path, "road", "sky"))
    grown = bundle(tmp_path, "background", "road", "sky")
    result = c.node.set_parameters_atomically(
        [Parameter("weights", value=str(grown)), Parameter("engine", value="openvino")]
    )
    assert not result.successful and "read when the node configures" in result.reason
    c.answer(1)
    assert c.class_names() == ["road", "sky"]


def test_the_node_can_be_cleaned_up_and_configured_with_other_weights(camera, tmp_path):
    c = camera(bundle(tmp_path, "road", "sky"))
    assert c.class_names() == ["road", "sky"]
    c.node.trigger_deactivate()
    c.node.trigger_cleanup()
    # Without a network in use there are no known classes to keep.
    assert c.set_weights(bundle(tmp_path, "water", "ice")).successful
    c.node.trigger_configure()
    c.node.trigger_activate()
    until(lambda: len(c.names) == 2)
    assert c.class_names() == ["water", "ice"]


def test_a_bad_image_is_a_counted_drop(camera, tmp_path):
    c = camera(bundle(tmp_path, "road", "sky"))
    wrong = picture(1)
    wrong.encoding = "16UC1"
    c.send(wrong)
    assert c.node.answered == 0
    assert sum(c.node.drops.values()) == c.node.frames_in == 1


def test_the_page_lists_the_parameters_as_they_are():
    page = (ROOT / "docs" / "nodes" / "segmentation.md").read_text()
    assert markdown_table(SegmentationConfig) in page, (
        "docs/nodes/segmentation.md: replace the table of parameters by the output of\n"
        'python -c "from ros_xai.nodes.segmentation_config import *; '
        'from ros_xai.ros.parameters import *; print(markdown_table(SegmentationConfig))"'
    )
