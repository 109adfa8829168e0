"""The depth node's parameters, its configuration file and its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from ros_xai.core.config import from_mapping
from ros_xai.nodes.depth import DepthNode
from ros_xai.nodes.depth_config import DepthConfig
from ros_xai.ros.parameters import markdown_table

ROOT = Path(__file__).parents[2]
T = np.eye(4)
T[:3, 3] = 0.1, -0.2, 0.3


def test_the_page_lists_the_parameters_as_they_are():
    page = (ROOT / "docs" / "nodes" / "depth.md").read_text()
    assert markdown_table(DepthConfig) in page, (
        "docs/nodes/depth.md: replace the table of parameters by the output of\n"
        'python -c "from ros_xai.nodes.depth_config import *; '
        'from ros_xai.ros.parameters import *; print(markdown_table(DepthConfig))"'
    )


def test_the_configuration_file_shows_every_parameter_with_its_default():
    file = yaml.safe_load((ROOT / "config" / "perception.yaml").read_text())
    given = file["/**/depth"]["ros__parameters"]
    assert from_mapping(DepthConfig, given) == DepthConfig()
    names = {field.name for field in dataclasses.fields(DepthConfig)}
    assert names - set(given) == {"autostart"}


@pytest.mark.parametrize("namespace", ["", "car/front"])
def test_the_configuration_file_reaches_the_node_in_any_namespace(ros_context, tmp_path, namespace):
    text = (ROOT / "config" / "perception.yaml").read_text()
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("rings: []", "rings: [56, 40]").replace("0.2 #", "0.3 #"))
    node = DepthNode(
        context=ros_context,
        namespace=namespace,
        cli_args=["--ros-args", "--params-file", str(file)],
    )
    assert (node.config.rings, node.config.sync_timeout) == ((56, 40), 0.3)
    node.destroy_node()


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (T.ravel()[:12], "expected 16 numbers or none; got 12"),
        ((2 * T).ravel(), "expected a rotation"),
        (np.diag([1.0, 1.0, -1.0, 1.0]).ravel(), "expected a rotation"),
        (T.T.ravel(), "last row 0 0 0 1"),
        (np.full(16, np.nan), "expected a rotation"),
    ],
)
def test_a_transform_that_is_none_is_refused(numbers, says):
    with pytest.raises(ValueError, match=says):
        DepthConfig(T_camera_lidar=tuple(numbers.tolist()))


def test_times_are_nanoseconds():
    times = DepthConfig(sync_slop=0.05, sync_timeout=0.25, lidar_timeout=1.5).times
    assert (times.slop, times.patience, times.absence) == (50_000_000, 250_000_000, 1_500_000_000)
