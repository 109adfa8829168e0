"""Every test runs on our equivalent, and on the distribution's package too if it is installed."""

from __future__ import annotations

import importlib
import types
from typing import Any

import pytest


def implementations(name: str) -> Any:
    """A fixture over our equivalent of a package and the distribution's, if that is installed."""
    ours = "ros_xai.ros.equivalents." + name.rpartition(".")[2]
    found = [ours]
    try:
        importlib.import_module(name)
        found.append(name)
    except ImportError:
        pass

    @pytest.fixture(params=found)
    def implementation(request: pytest.FixtureRequest) -> types.ModuleType:
        return importlib.import_module(request.param)

    return implementation


message_filters = implementations("message_filters")
point_cloud2 = implementations("sensor_msgs_py.point_cloud2")
cv_bridge = implementations("cv_bridge")
tf2_ros = implementations("tf2_ros")
