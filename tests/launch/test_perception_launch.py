"""`ros2 launch ros_xai perception.launch.py` by launch itself, where it is installed.

The same scenarios run everywhere by `ros_xai perception` in
tests/integration/test_perception_processes.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_testing", reason="launch_testing is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from launch import LaunchDescription, LaunchService

try:
    SHARE = Path(get_package_share_directory("ros_xai"))
except PackageNotFoundError:
    pytest.skip("ros_xai is not installed in a ROS 2 workspace", allow_module_level=True)

PATIENCE_S = 120.0


class Launched:
    """perception.launch.py under a launch service in a thread, and a peer that looks at the graph."""

    def __init__(self, context: Any, **arguments: str) -> None:
        os.environ["ROS_DOMAIN_ID"] = str(context.get_domain_id())
        self.started: list[Any] = []
        self.exits: list[int] = []
        source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "perception.launch.py"))
        description = LaunchDescription(
            [
                RegisterEventHandler(OnProcessStart(on_start=self._on_start)),
                RegisterEventHandler(OnProcessExit(on_exit=self._on_exit)),
                IncludeLaunchDescription(source, launch_arguments=list(arguments.items())),
            ]
        )
        self.peer = Node("looker", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.peer)
        self.service = LaunchService(noninteractive=True)
        self.service.include_launch_description(description)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.service.run_async())

    def _on_start(self, event: Any, context: Any) -> None:
        self.started.append(event)

    def _on_exit(self, event: Any, context: Any) -> None:
        self.exits.append(event.returncode)

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.names()
            self.executor.spin_once(timeout_sec=0.05)

    def names(self) -> set[str]:
        """Nodes that subscribe to something, without the looker."""
        return {
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self.peer.get_node_names_and_namespaces()
        } - {"/looker"}

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._shutdown(), self.loop)
        self.thread.join(PATIENCE_S)
        self.executor.shutdown()
        self.peer.destroy_node()
        assert not self.thread.is_alive()

    async def _shutdown(self) -> None:
        self.service.shutdown()


@pytest.fixture
def launched(ros_context: Any, monkeypatch: pytest.MonkeyPatch):
    """Starts the launch file with the given arguments."""
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    made: list[Launched] = []

    def start(**arguments: str) -> Launched:
        made.append(Launched(ros_context, **arguments))
        return made[-1]

    yield start
    for each in made:
        each.close()
        assert set(each.exits) <= {0, -signal.SIGKILL}


def test_one_process_holds_the_nodes_that_are_on(launched):
    scene = launched(namespace="front", segmentation="false", forecasting="false")
    scene.until(lambda: {"/front/depth", "/front/explanation"} <= scene.names())
    scene.until(lambda: scene.peer.count_subscribers("/front/image") > 0)
    assert "/front/segmentation" not in scene.names()
    assert len(scene.started) == 1


def test_topics_are_moved_by_argument_and_by_the_preset(launched):
    scene = launched(
        segmentation="false",
        forecasting="false",
        explanation="false",
        remaps="autoware",
        image="/mine",
    )
    scene.until(lambda: scene.peer.count_subscribers("/mine") == 1)
    scene.until(lambda: scene.peer.count_subscribers("/sensing/lidar/concatenated/pointcloud") == 1)


def test_a_killed_process_is_started_again(launched):
    scene = launched(
        composed="false",
        respawn="true",
        segmentation="false",
        forecasting="false",
        explanation="false",
    )
    scene.until(lambda: scene.peer.count_subscribers("/image") == 1)
    os.kill(scene.started[0].pid, signal.SIGKILL)
    scene.until(lambda: len(scene.started) == 2)
    scene.until(lambda: scene.peer.count_subscribers("/image") >= 1)
    assert scene.exits == [-signal.SIGKILL]
