"""The layouts for RViz and Foxglove show topics that the nodes have, as the types they are; the
remappings move such topics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rclpy.parameter import Parameter

from ros_xai.data.segmentation import Classes
from ros_xai.nodes.perception import NODES, UnavailableError, node_class
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork

CONFIG = Path(__file__).resolve().parents[2] / "config"
# What a display of RViz or a panel of Foxglove can show.
SHOWS = {
    "rviz_default_plugins/Image": "Image",
    "rviz_default_plugins/PointCloud2": "PointCloud2",
    "rviz_default_plugins/MarkerArray": "MarkerArray",
    "rviz_default_plugins/Map": "OccupancyGrid",
    "Image": "Image",
}
# Inputs whose node may not be able to run here, and what only forecasting says.
OF_FORECASTING = {
    "/tracks": "MarkerArray",
    "/map": "OccupancyGrid",
    "/forecast/markers": "MarkerArray",
}


@pytest.fixture
def topics(ros_context: Any, tmp_path: Path) -> dict[str, tuple[str, Any]]:
    """Type and quality of service of every topic of the nodes; publishers before subscribers."""
    torch.manual_seed(0)
    shape = NetworkConfig(classes=1, widths=(4, 8, 8, 8), blocks=1, decoder=8)
    classes = Classes(("road",), ((1, 2, 3),), ((0,),))
    weights = save_bundle(tmp_path / "w.safetensors", SegmentationNetwork(shape), classes, {})
    found: dict[str, tuple[str, Any]] = {}
    for name in NODES:
        overrides = []
        if name == "segmentation":
            overrides = [Parameter("weights", value=str(weights))]
        try:
            node = node_class(name)(context=ros_context, parameter_overrides=overrides)
        except UnavailableError:
            found |= {topic: (kind, None) for topic, kind in OF_FORECASTING.items()}
            continue
        for end in (*node.publishers, *node.subscriptions):
            found.setdefault(end.topic_name, (end.msg_type.__name__, end.qos_profile))
        node.destroy_node()
    return found


def test_rviz_shows_what_the_nodes_publish(topics):
    content = yaml.safe_load((CONFIG / "perception.rviz").read_text())
    shown = {
        display["Topic"]["Value"]: display
        for display in content["Visualization Manager"]["Displays"]
        if "Topic" in display
    }
    assert {"/image", "/segmentation/overlay", "/depth/points", "/forecast/markers"} <= set(shown)
    assert {"/map", "/explanation/overlay"} <= set(shown)
    for topic, display in shown.items():
        kind, qos = topics[topic]
        assert SHOWS[display["Class"]] == kind, topic
        # A reliable subscription hears nothing of a best-effort publisher.
        if qos is not None and topic not in ("/image", "/points", "/tracks", "/map"):
            assert display["Topic"]["Reliability Policy"].lower() == qos.reliability.name.lower()


def test_foxglove_shows_what_the_nodes_publish(topics):
    layout = json.loads((CONFIG / "foxglove.json").read_text())
    panels = layout["configById"]

    def leaves(part: Any) -> set[str]:
        if isinstance(part, str):
            return {part}
        return leaves(part["first"]) | leaves(part["second"])

    assert leaves(layout["layout"]) == set(panels)
    pictures = {p["imageMode"]["imageTopic"] for n, p in panels.items() if n.startswith("Image!")}
    assert {topics[topic][0] for topic in pictures} == {"Image"}
    scene = panels["3D!scene"]["topics"]
    assert {topics[topic][0] for topic in scene} == {"PointCloud2", "MarkerArray", "OccupancyGrid"}
    assert topics[panels["DiagnosticSummary!nodes"]["topicToRender"]][0] == "DiagnosticArray"


def test_autowares_names_are_of_topics_that_the_nodes_have(topics):
    remaps = yaml.safe_load((CONFIG / "autoware.yaml").read_text())
    had = {topic.removeprefix("/") for topic in topics} | {"image/compressed"}  # by a parameter
    assert set(remaps) - had == set()
