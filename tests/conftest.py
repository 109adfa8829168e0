"""Fixtures that every room's tests share."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadlines: machines are shared. Derandomised: the same commit passes or fails everywhere.
settings.register_profile("ros_xai", deadline=None, derandomize=True)
settings.load_profile("ros_xai")

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

_domains = itertools.count(os.getpid() % 100)


@pytest.fixture
def data_dir() -> Path:
    """The folder of real driving data named by ROS_XAI_DATA; the test is skipped without it."""
    folder = os.environ.get("ROS_XAI_DATA")
    if not folder:
        pytest.skip("ROS_XAI_DATA names no folder of real driving data")
    return Path(folder)


@pytest.fixture
def ros_context() -> Iterator[Any]:
    """An initialised rclpy context in a DDS domain that no other test of this run uses."""
    rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed")
    context = rclpy.Context()
    # Domains above 101 would reach into Linux's ephemeral ports.
    rclpy.init(context=context, domain_id=1 + next(_domains) % 100)
    yield context
    rclpy.try_shutdown(context=context)
