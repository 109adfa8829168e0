"""The manager of all nodes: which it makes, what it refuses, what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from ros_xai.cli import perception as command
from ros_xai.core.config import ConfigError
from ros_xai.nodes.depth import DepthNode
from ros_xai.nodes.perception import NODES, PerceptionManager, UnavailableError, node_class
from ros_xai.nodes.perception_config import PerceptionConfig
from ros_xai.ros.parameters import markdown_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def manager(ros_context):
    """Makes managers with the given nodes enabled, and their nodes."""
    made = []

    def make(*enabled, **members):
        overrides = [Parameter(name, value=name in enabled) for name in NODES]
        manager = PerceptionManager(context=ros_context, parameter_overrides=overrides)
        made.append(manager)
        overrides = [Parameter(name, value=value) for name, value in members.items()]
        manager.make_members(context=ros_context, parameter_overrides=overrides)
        return manager

    yield make
    for manager in made:
        for node in (*manager.members.values(), manager):
            node.destroy_node()


def test_the_page_lists_the_parameters_as_they_are():
    page = (ROOT / "docs" / "nodes" / "perception.md").read_text()
    assert markdown_table(PerceptionConfig) in page


def test_the_command_knows_the_same_nodes():
    assert tuple(NODES) == command.NODES


def test_an_unknown_node_is_refused_with_the_closest_name():
    assert node_class("depth") is DepthNode
    with pytest.raises(ConfigError, match="did you mean segmentation"):
        node_class("segmentaton")


def test_a_node_without_its_library_is_told_and_the_others_run(manager, monkeypatch):
    # Python's own way of a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "ros_xai.nodes.segmentation", None)
    with pytest.raises(UnavailableError, match="segmentation cannot be imported"):
        node_class("segmentation")
    made = manager("depth", "segmentation")
    assert list(made.members) == ["depth"]
    findings, values = made.report()
    assert [finding.level for finding in findings] == ["error"]
    assert "segmentation cannot be imported" in findings[0].text
    assert values["depth"] == "active"
    assert values["segmentation"] == "unavailable"
    answer = made._on_start(Trigger.Request(), Trigger.Response())
    assert not answer.success
    assert "segmentation cannot be imported" in answer.message


def test_start_and_stop_tell_what_became_of_the_nodes(manager):
    made = manager("depth", autostart=False)
    assert made.members["depth"].state == "unconfigured"
    stopped = made._on_stop(Trigger.Request(), Trigger.Response())
    assert (stopped.success, stopped.message) == (True, "depth: inactive")
    started = made._on_start(Trigger.Request(), Trigger.Response())
    assert (started.success, started.message) == (True, "depth: active")
    assert made._on_stop(Trigger.Request(), Trigger.Response()).success
    assert made.members["depth"].state == "inactive"


def test_a_node_that_cannot_start_is_named_with_the_reason(manager):
    made = manager("depth", weights="/none.safetensors")
    started = made._on_start(Trigger.Request(), Trigger.Response())
    assert not started.success
    assert "depth is unconfigured" in started.message
    assert "no /none.json" in started.message
    assert [finding.level for finding in made.report()[0]] == ["error"]


def test_depth_tells_its_beams_where_they_are_explained(manager):
    assert not manager("depth").members["depth"].config.publish_sparse
    made = manager("depth", "explanation")
    depth = made.members["depth"]
    assert depth.config.publish_sparse
    assert not made.report()[0]
    depth.set_parameters([Parameter("publish_sparse", value=False)])
    assert "set publish_sparse" in made.report()[0][0].text
