"""The explanation node among real rclpy peers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ros_xai.data.segmentation import CAMVID
from ros_xai.nodes.depth import DepthNode
from ros_xai.nodes.explanation import ExplanationNode
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.nodes.segmentation import SegmentationNode
from ros_xai.ros import images, pointclouds
from ros_xai.ros.parameters import markdown_table
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.segmenter import Segmenter

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 64, 128
INPUTS = {"image": Image, "depth/camera_info": CameraInfo, "depth/sparse": Image}
WALL = np.stack([np.linspace(-4, 4, 99), np.full(99, 0.5), np.full(99, 8.0)], 1).astype(np.float32)
QUICK = {"rows": 2, "columns": 4, "publish_every": 20, "budget_ms": 1e5, "by": "lidar",
         "ms_per_second": 1000.0, "region": [8, 24, 40, 56], "idle": False}  # fmt: skip


def header(milliseconds: int) -> Header:
    seconds, rest = divmod(milliseconds, 1000)
    return Header(stamp=Time(sec=seconds, nanosec=rest * 1_000_000), frame_id="camera_optical")


def image(milliseconds: int) -> Image:
    """The same every second."""
    pixels = np.random.default_rng(milliseconds % 1000).integers(
        0, 255, (HEIGHT, WIDTH, 3), np.uint8
    )
    return images.to_message(pixels, "rgb8", header(milliseconds))


def sparse(milliseconds: int) -> Image:
    """Beams on three rows: 10 m on the left, 30 m on the right."""
    depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    depth[20:60:16, ::2] = np.where(np.arange(0, WIDTH, 2) < WIDTH // 2, 10.0, 30.0)
    return images.to_message(depth, "32FC1", header(milliseconds))


def camera(milliseconds: int) -> CameraInfo:
    K = [110.0, 0.0, 63.5, 0.0, 110.0, 31.5, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(milliseconds), width=WIDTH, height=HEIGHT, k=K)


class Scene:
    """The node, a peer that plays camera and depth node, and an executor in a thread."""

    def __init__(self, context: Any, *others: Node, **parameters: Any) -> None:
        start: dict[str, Any] = dict(QUICK)
        for topic in INPUTS:
            start[f"qos_overrides./{topic}.subscription.reliability"] = "reliable"
        start |= parameters
        overrides = [Parameter(name, value=value) for name, value in start.items()]
        self.node = ExplanationNode(context=context, parameter_overrides=overrides)
        self.peer = Node("peer", context=context)
        self.senders = {t: self.peer.create_publisher(kind, t, 10) for t, kind in INPUTS.items()}
        self.heatmaps: list[Image] = []
        self.overlays: list[Image] = []
        self.reports: list[DiagnosticArray] = []
        for topic, kind, seen in (
            ("explanation/heatmap", Image, self.heatmaps),
            ("explanation/overlay", Image, self.overlays),
            ("explanation/faithfulness", DiagnosticArray, self.reports),
        ):
            self.peer.create_subscription(kind, topic, seen.append, 50)
        self.nodes = [self.node, self.peer, *others]
        self.executor = SingleThreadedExecutor(context=context)
        for node in self.nodes:
            self.executor.add_node(node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        heard = ["image"] if parameters.get("task") == "segmentation" else list(INPUTS)
        self.until(lambda: all(self.senders[topic].get_subscription_count() for topic in heard))
        self.until(lambda: self.node._faithfulness.get_subscription_count() == 1)

    def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "what the test waits for did not come"
            time.sleep(0.002)

    def send(self, topic: str, message: Any) -> None:
        before = self.node.received[f"/{topic}"]
        self.senders[topic].publish(message)
        self.until(lambda: self.node.received[f"/{topic}"] > before)

    def frame(self, milliseconds: int) -> None:
        self.send("image", image(milliseconds))
        self.send("depth/camera_info", camera(milliseconds))
        self.send("depth/sparse", sparse(milliseconds))

    def accounted(self) -> bool:
        node = self.node
        return node.frames_in == node.answered + node.monitor.frame_drops() + node.pending()

    def close(self) -> None:
        self.executor.shutdown()
        self.thread.join(10)
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def scenes(ros_context) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(*others: Node, **parameters: Any) -> Scene:
        made.append(Scene(ros_context, *others, **parameters))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


def test_an_answer_is_explained_refined_and_tested(scenes) -> None:
    scene = scenes()
    scene.frame(1500)
    scene.until(lambda: scene.reports)
    assert len(scene.heatmaps) == len(scene.overlays) > 1
    for message in (*scene.heatmaps, *scene.overlays, *scene.reports):
        assert message.header == header(1500)
    heat = images.to_array(scene.heatmaps[-1])
    assert heat.shape == (HEIGHT, WIDTH)
    assert heat[:, : WIDTH // 2].max() > 5 * np.abs(heat[:, WIDTH // 2 + 16 :]).max()
    shown = images.to_rgb(scene.overlays[-1])
    changed = (shown != images.to_rgb(image(1500))).any(-1)
    assert changed[24:56, 8:40].mean() > 0.5
    figures = {pair.key: pair.value for pair in scene.reports[0].status[0].values}
    assert float(figures["deletion"]) < float(figures["deletion_random"])
    assert int(figures["forwards"]) >= 8 * 9
    scene.until(lambda: scene.node.answered == 1)
    scene.until(scene.accounted)


def test_a_request_is_answered_once(scenes) -> None:
    scene = scenes(on_request=True)
    scene.frame(100)
    assert scene.node.monitor.drops == {"answer.superseded": 1}
    client = scene.peer.create_client(Trigger, "/explanation/explain")
    scene.until(client.service_is_ready)
    asked = client.call_async(Trigger.Request())
    scene.until(asked.done)
    assert asked.result().success
    scene.frame(200)
    scene.until(lambda: scene.node.answered == 1)
    scene.frame(300)
    assert scene.node.monitor.drops == {"answer.superseded": 2}
    scene.until(lambda: scene.reports)
    assert {message.header.stamp.nanosec for message in scene.reports} == {200_000_000}
    scene.until(scene.accounted)


def test_what_cannot_be_explained_is_a_counted_drop(scenes) -> None:
    scene = scenes()
    scene.send("depth/sparse", sparse(100))
    scene.frame(200)
    scene.until(lambda: scene.node.answered == 1)
    far = [Parameter("region", value=[500, 0, 600, 64])]
    assert scene.node.set_parameters(far)[0].successful
    scene.frame(300)
    scene.until(lambda: scene.node.drops["answer.region"] == 1)
    assert scene.node.drops == {"answer.unpaired": 1, "answer.region": 1}
    scene.until(scene.accounted)


def test_deactivation_ends_an_explanation_at_once(scenes) -> None:
    scene = scenes(ms_per_second=1.0)
    scene.frame(100)
    scene.until(lambda: scene.node.pending() == 1)
    begun = time.monotonic()
    scene.node.trigger_deactivate()
    assert time.monotonic() - begun < 20
    scene.until(lambda: scene.node.pending() == 0)
    assert scene.node.answered == 0
    scene.until(scene.accounted)


def test_depth_answers_as_if_nobody_explained_it(scenes, ros_context) -> None:
    """A replay with a request before every frame, and one without: the same bytes of depth."""
    frames = [100, 200, 300]

    def request(scene: Scene) -> None:
        asked = client.call_async(Trigger.Request())
        scene.until(asked.done)
        assert asked.result().success

    def answers(scene: Scene, depth: DepthNode, second: int, asking: bool) -> dict[int, bytes]:
        seen: dict[int, bytes] = {}
        scene.peer.create_subscription(
            Image,
            "depth/image",
            lambda message: seen.update({message.header.stamp.nanosec: bytes(message.data)}),
            10,
        )
        scene.until(lambda: depth._depth.get_subscription_count() == second)
        info = scene.peer.create_publisher(CameraInfo, "camera_info", 10)
        clouds = scene.peer.create_publisher(PointCloud2, "points", 10)
        scene.until(lambda: info.get_subscription_count() and clouds.get_subscription_count())
        heard = depth.received["/camera_info"]
        info.publish(camera(0))
        scene.until(lambda: depth.received["/camera_info"] > heard)
        for milliseconds in frames:
            if asking:
                request(scene)
            clouds.publish(pointclouds.to_message(WALL, header(1000 * second + milliseconds)))
            scene.senders["image"].publish(image(1000 * second + milliseconds))
            scene.until(lambda: milliseconds * 10**6 in seen)  # noqa: B023
        return seen

    def depth_node() -> DepthNode:
        reliable = {
            f"qos_overrides./{topic}.subscription.reliability": "reliable"
            for topic in ("image", "camera_info", "points")
        }
        settings = {**reliable, "publish_sparse": True}
        overrides = [Parameter(name, value=value) for name, value in settings.items()]
        return DepthNode(context=ros_context, parameter_overrides=overrides)

    depth = depth_node()
    explained = scenes(depth, by="image", on_request=True)
    client = explained.peer.create_client(Trigger, "/explanation/explain")
    explained.until(client.service_is_ready)
    with_explanation = answers(explained, depth, second=1, asking=True)
    explained.until(lambda: explained.heatmaps)
    explained.node.trigger_deactivate()
    without_explanation = answers(explained, depth, second=2, asking=False)
    assert set(with_explanation) == {ms * 10**6 for ms in frames}
    assert with_explanation == without_explanation


def test_classes_are_explained_and_segmented_as_before(scenes, ros_context, tmp_path) -> None:
    torch.manual_seed(0)
    shape = NetworkConfig(classes=len(CAMVID), widths=(4, 4, 8, 8), decoder=8)
    weights = save_bundle(tmp_path / "tiny.safetensors", SegmentationNetwork(shape), CAMVID, {})
    expected = {ms: Segmenter.load(weights)(images.to_rgb(image(ms))).labels for ms in (100, 200)}
    seen = CAMVID.names[int(np.bincount(expected[100].ravel()).argmax())]
    settings = {
        "weights": str(weights),
        "qos_overrides./image.subscription.reliability": "reliable",
    }
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    segmentation = SegmentationNode(context=ros_context, parameter_overrides=overrides)
    scene = scenes(
        segmentation,
        task="segmentation",
        by="image",
        weights=str(weights),
        target=seen,
        region=[0, 0, 128, 64],
    )
    answers: dict[int, np.ndarray] = {}
    scene.peer.create_subscription(
        Image,
        "segmentation/labels",
        lambda m: answers.update({m.header.stamp.nanosec // 10**6: images.to_array(m)}),
        10,
    )
    scene.until(lambda: segmentation._labels.get_subscription_count() == 1)
    scene.until(lambda: scene.senders["image"].get_subscription_count() == 2)
    for milliseconds in expected:
        scene.send("image", image(milliseconds))
        scene.until(lambda: milliseconds in answers)  # noqa: B023
    for milliseconds, labels in expected.items():
        np.testing.assert_array_equal(answers[milliseconds], labels)
    scene.until(lambda: scene.reports)
    figures = {pair.key: pair.value for pair in scene.reports[0].status[0].values}
    assert figures["target"].startswith(f"mean logit of class {CAMVID.names.index(seen)} over")
    assert images.to_array(scene.heatmaps[-1]).shape == (HEIGHT, WIDTH)
    scene.until(lambda: scene.node.pending() == 0)
    assert scene.node.set_parameters([Parameter("target", value="unicorn")])[0].successful
    scene.send("image", image(300))
    scene.until(lambda: scene.node.drops["answer.target"] == 1)


@pytest.mark.parametrize("region", [(1, 2, 3), (10, 0, 10, 5), (-1, 0, 4, 4)])
def test_a_region_that_is_none_is_refused(region) -> None:
    with pytest.raises(ValueError, match="region: expected"):
        ExplanationConfig(region=region)


def test_the_page_lists_the_parameters_as_they_are() -> None:
    page = (ROOT / "docs" / "nodes" / "explanation.md").read_text()
    assert markdown_table(ExplanationConfig) in page, (
        "docs/nodes/explanation.md: replace the table of parameters by the output of\n"
        'python -c "from ros_xai.nodes.explanation_config import *; '
        'from ros_xai.ros.parameters import *; print(markdown_table(ExplanationConfig))"'
    )
