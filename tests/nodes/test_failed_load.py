"""A node whose network cannot be loaded stays unconfigured, and is as good as new once it can."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.parameter import Parameter

from ros_xai.nodes.counterfactual import CounterfactualNode
from ros_xai.nodes.depth import DepthNode
from ros_xai.nodes.explanation import ExplanationNode
from ros_xai.nodes.forecasting import ForecastingNode
from ros_xai.nodes.segmentation import SegmentationNode
from ros_xai.ros.lifecycle import PerceptionNode

MISSING = Parameter("weights", value="/none/missing.safetensors")
SHIPPED = Parameter("weights", value="")


@pytest.mark.parametrize(
    "kind", [DepthNode, SegmentationNode, ForecastingNode, ExplanationNode, CounterfactualNode]
)
def test_a_failed_load_can_be_tried_again_at_any_time(
    ros_context: Any, kind: type[PerceptionNode[Any, Any]]
) -> None:
    node = kind(context=ros_context, parameter_overrides=[MISSING])

    def configured(weights: Parameter[Any]) -> bool:
        assert node.set_parameters([weights])[0].successful
        node.trigger_configure()
        return node.state == "inactive"

    assert (node.state, "missing" in node.failure) == ("unconfigured", True)
    assert not configured(MISSING) and node.state == "unconfigured"
    assert configured(SHIPPED) and not node.failure
    node.trigger_activate()
    assert node.state == "active"
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert not configured(MISSING) and node.state == "unconfigured"
    assert configured(SHIPPED)
    node.destroy_node()
