"""`ros2 launch ros_xai perception.launch.py` by launch itself, where it is installed.

The same scenarios run everywhere by `ros_xai perception` in
tests/integration/test_perception_processes.py.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_testing", reason="launch_testing is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from launch import LaunchDescription, LaunchService
from tests.waiting import until

try:
    SHARE = Path(get_package_share_directory("ros_xai"))
except PackageNotFoundError:
    pytest.skip("ros_xai is not installed in a ROS 2 workspace", allow_module_level=True)

PATIENCE_S = 120.0


class Launched:
    """perception.launch.py under a launch service, and a peer that looks on."""

    def __init__(self, context: Any, arguments: dict[str, str]) -> None:
        self.started: list[Any] = []
        self.exits: list[int] = []
        self.ended = False  # the launch service
        source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "perception.launch.py"))
        description = LaunchDescription(
            [
                RegisterEventHandler(OnProcessStart(on_start=self._on_start)),
                RegisterEventHandler(OnProcessExit(on_exit=self._on_exit)),
                IncludeLaunchDescription(source, launch_arguments=list(arguments.items())),
            ]
        )
        self.peer = Node("looker", context=context)
        self.reports = 0  # of nodes on /diagnostics
        self.peer.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, 10)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.peer)
        self.service = LaunchService(noninteractive=True)
        self.service.include_launch_description(description)

    def run(self, scenario: Callable[[Launched], None]) -> None:
        """The scenario in a thread while launch has the main one, which it insists on."""
        failures: list[BaseException] = []

        def act() -> None:
            try:
                scenario(self)
            except BaseException as error:
                failures.append(error)
            finally:
                self.service.shutdown()

        actor = threading.Thread(target=act, daemon=True)
        actor.start()
        self.service.run()
        self.ended = True
        actor.join()
        self.executor.shutdown()
        self.peer.destroy_node()
        if failures:
            raise failures[0]
        assert set(self.exits) <= {0, -signal.SIGKILL}

    def _on_start(self, event: Any, context: Any) -> None:
        self.started.append(event)

    def _on_exit(self, event: Any, context: Any) -> None:
        self.exits.append(event.returncode)

    def _on_report(self, message: DiagnosticArray) -> None:
        self.reports += 1

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, PATIENCE_S, self.spin_once, self.names)

    def spin_once(self) -> None:
        assert not self.ended, "launch has ended; its log says why"
        self.executor.spin_once(timeout_sec=0.05)

    def names(self) -> set[str]:
        """Nodes of the graph, without the looker."""
        return {
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self.peer.get_node_names_and_namespaces()
        } - {"/looker"}


@pytest.fixture
def launched(ros_context: Any, monkeypatch: pytest.MonkeyPatch):
    """Runs a scenario with the launch file's given arguments."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros_context.get_domain_id()))
    return lambda scenario, **arguments: Launched(ros_context, arguments).run(scenario)


def test_one_process_holds_the_nodes_that_are_on(launched):
    def scenario(scene: Launched) -> None:
        scene.until(lambda: {"/front/depth", "/front/explanation"} <= scene.names())
        scene.until(lambda: scene.peer.count_subscribers("/front/image") > 0)
        assert "/front/segmentation" not in scene.names()
        assert len(scene.started) == 1

    launched(scenario, namespace="front", segmentation="false", forecasting="false")


ONLY_DEPTH = {"segmentation": "false", "forecasting": "false", "explanation": "false"}


def test_topics_are_moved_by_argument_and_by_the_preset(launched):
    def scenario(scene: Launched) -> None:
        for topic in ("/mine", "/sensing/lidar/concatenated/pointcloud"):
            scene.until(lambda t=topic: scene.peer.count_subscribers(t) == 1)

    launched(scenario, remaps="autoware", image="/mine", **ONLY_DEPTH)


def test_a_killed_process_is_started_again(launched):
    def scenario(scene: Launched) -> None:
        scene.until(lambda: scene.peer.count_subscribers("/image") == 1)
        os.kill(scene.started[0].pid, signal.SIGKILL)
        scene.until(lambda: len(scene.started) == 2)
        before = scene.reports
        scene.until(lambda: scene.reports > before + 1)  # the dead one's subscription stays a while
        assert scene.exits == [-signal.SIGKILL]

    launched(scenario, composed="false", respawn="true", **ONLY_DEPTH)
