"""The explanation node among real rclpy peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger

from ros_xai.data.segmentation import CAMVID
from ros_xai.nodes.depth import DepthNode
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.nodes.segmentation import SegmentationNode
from ros_xai.ros import images, pointclouds
from ros_xai.ros.parameters import markdown_table
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.segmenter import Segmenter
from tests.nodes.explanation_scene import HEIGHT, WIDTH, Scene, camera, header, image, sparse
from tests.waiting import until

ROOT = Path(__file__).parents[2]
WALL = np.stack([np.linspace(-4, 4, 99), np.full(99, 0.5), np.full(99, 8.0)], 1).astype(np.float32)


@pytest.fixture
def scenes(ros_context) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(*others: Node, **parameters: Any) -> Scene:
        made.append(Scene(ros_context, *others, **parameters))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


@pytest.mark.parametrize(("method", "shown"), [("sobol", "sobol"), ("effects", "main effects")])
def test_an_answer_is_explained_refined_and_tested(scenes, method, shown) -> None:
    scene = scenes(method=method)
    scene.frame(1500)
    until(lambda: scene.reports)
    assert len(scene.heatmaps) == len(scene.overlays) > 1
    for message in (*scene.heatmaps, *scene.overlays, *scene.reports):
        assert message.header == header(1500)
    heat = images.to_array(scene.heatmaps[-1])
    assert heat.shape == (HEIGHT, WIDTH)
    assert heat[:, : WIDTH // 2].max() > 5 * np.abs(heat[:, WIDTH // 2 + 16 :]).max()
    over = images.to_rgb(scene.overlays[-1])
    changed = (over != images.to_rgb(image(1500))).any(-1)
    assert changed[24:56, 8:40].mean() > 0.5
    figures = {pair.key: pair.value for pair in scene.reports[0].status[0].values}
    assert figures["method"] == shown
    assert float(figures["deletion"]) < float(figures["deletion_random"])
    assert 8 * 9 <= int(figures["forwards"]) < 4096  # until the cells are settled
    until(lambda: scene.node.answered == 1)
    until(scene.accounted)


def test_a_request_is_answered_once(scenes) -> None:
    scene = scenes(on_request=True)
    scene.frame(100)
    assert scene.node.monitor.drops == {"answer.superseded": 1}
    client = scene.peer.create_client(Trigger, "/explanation/explain")
    until(client.service_is_ready)
    asked = client.call_async(Trigger.Request())
    until(asked.done)
    assert asked.result().success
    scene.frame(200)
    until(lambda: scene.node.answered == 1)
    scene.frame(300)
    assert scene.node.monitor.drops == {"answer.superseded": 2}
    until(lambda: scene.reports)
    assert {message.header.stamp.nanosec for message in scene.reports} == {200_000_000}
    until(scene.accounted)


def test_what_cannot_be_explained_is_a_counted_drop(scenes) -> None:
    scene = scenes()
    scene.send("depth/sparse", sparse(100))
    scene.frame(200)
    until(lambda: scene.node.answered == 1)
    far = [Parameter("region", value=[500, 0, 600, 64])]
    assert scene.node.set_parameters(far)[0].successful
    scene.frame(300)
    until(lambda: scene.node.drops["answer.region"] == 1)
    assert scene.node.drops == {"answer.unpaired": 1, "answer.region": 1}
    until(scene.accounted)


def test_depth_of_a_distorted_camera_is_explained_in_its_own_geometry(scenes) -> None:
    """The rectified image, by OpenCV's own undistort; a raw one of noise is nowhere like it."""
    scene = scenes()
    lens = camera(100)
    lens.distortion_model, lens.d = "plumb_bob", [-0.4, 0.1, 0.0, 0.0, 0.0]
    lens.p = [90.0, 0.0, 60.0, 0.0, 0.0, 90.0, 33.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    scene.send("image", image(100))
    scene.send("camera_info", lens)
    scene.send("depth/sparse", sparse(100))
    until(lambda: scene.reports)
    until(lambda: len(scene.overlays) == scene.node.published["/explanation/overlay"])
    raw = images.to_rgb(image(100))
    K, P = np.reshape(lens.k, (3, 3)), np.reshape(lens.p, (3, 4))
    rectified = cv2.undistort(raw, K, np.array(lens.d), None, P[:, :3])
    weak = images.to_array(scene.heatmaps[-1]) < 1e-3 * images.to_array(scene.heatmaps[-1]).max()
    shown = images.to_rgb(scene.overlays[-1]).astype(int)
    assert weak.sum() > 1000
    # OpenCV's two remaps differ by a rounding, and the heat is not quite zero.
    assert np.abs(shown - rectified)[weak].mean() < 5 < np.abs(shown - raw)[weak].mean()
    assert not scene.node.drops


def test_a_camera_info_of_another_image_is_a_counted_drop(scenes) -> None:
    scene = scenes()
    other = camera(100)
    other.width = 640
    scene.send("camera_info", other)
    scene.send("image", image(100))
    scene.send("depth/sparse", sparse(100))
    until(lambda: scene.node.drops == {"answer.camera_info": 1})
    until(scene.accounted)


@pytest.mark.parametrize("task", ["depth", "segmentation"])
def test_compressed_images_are_explained(scenes, task) -> None:
    scene = scenes(image_transport="compressed", task=task, by="image", target="none", region=[])
    picture = images.compress(images.to_rgb(image(100)), "png", header=header(100))
    scene.send("image/compressed", picture)
    if task == "depth":
        scene.send("camera_info", camera(100))
        scene.send("depth/sparse", sparse(100))
        until(lambda: scene.overlays)
        assert images.to_rgb(scene.overlays[0]).shape == (HEIGHT, WIDTH, 3)
    else:
        until(lambda: scene.node.drops == {"answer.target": 1})


def test_deactivation_ends_an_explanation_at_once(scenes) -> None:
    scene = scenes(ms_per_second=1.0)
    scene.frame(100)
    until(lambda: scene.node.pending() == 1)
    begun = time.monotonic()
    scene.node.trigger_deactivate()
    assert time.monotonic() - begun < 20
    until(lambda: scene.node.pending() == 0)
    assert scene.node.answered == 0
    until(scene.accounted)


def test_depth_answers_as_if_nobody_explained_it(scenes, ros_context) -> None:
    """A replay with a request before every frame, and one without: the same bytes of depth."""
    frames = [100, 200, 300]

    def request(scene: Scene) -> None:
        asked = client.call_async(Trigger.Request())
        until(asked.done)
        assert asked.result().success

    def answers(scene: Scene, depth: DepthNode, second: int, asking: bool) -> dict[int, bytes]:
        seen: dict[int, bytes] = {}
        scene.peer.create_subscription(
            Image,
            "depth/image",
            lambda message: seen.update({message.header.stamp.nanosec: bytes(message.data)}),
            10,
        )
        until(lambda: depth._depth.get_subscription_count() == second)
        info = scene.peer.create_publisher(CameraInfo, "camera_info", 10)
        clouds = scene.peer.create_publisher(PointCloud2, "points", 10)
        until(lambda: info.get_subscription_count() and clouds.get_subscription_count())
        heard = depth.received["/camera_info"]
        info.publish(camera(0))
        until(lambda: depth.received["/camera_info"] > heard)
        for milliseconds in frames:
            if asking:
                request(scene)
            clouds.publish(pointclouds.to_message(WALL, header(1000 * second + milliseconds)))
            scene.senders["image"].publish(image(1000 * second + milliseconds))
            until(lambda: milliseconds * 10**6 in seen)  # noqa: B023
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
    until(client.service_is_ready)
    with_explanation = answers(explained, depth, second=1, asking=True)
    until(lambda: explained.heatmaps)
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
    until(lambda: segmentation._labels.get_subscription_count() == 1)
    until(lambda: scene.senders["image"].get_subscription_count() == 2)
    for milliseconds in expected:
        scene.send("image", image(milliseconds))
        until(lambda: milliseconds in answers)  # noqa: B023
    for milliseconds, labels in expected.items():
        np.testing.assert_array_equal(answers[milliseconds], labels)
    until(lambda: scene.reports)
    figures = {pair.key: pair.value for pair in scene.reports[0].status[0].values}
    assert figures["target"].startswith(f"mean logit of class {CAMVID.names.index(seen)} over")
    assert images.to_array(scene.heatmaps[-1]).shape == (HEIGHT, WIDTH)
    until(lambda: scene.node.pending() == 0)
    assert scene.node.set_parameters([Parameter("target", value="unicorn")])[0].successful
    scene.send("image", image(300))
    until(lambda: scene.node.drops["answer.target"] == 1)


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
