"""All perception nodes in one process, on one executor, with a manager that starts them."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from ros_xai.core.config import ConfigError
from ros_xai.nodes.host import run_all
from ros_xai.nodes.perception_config import PerceptionConfig
from ros_xai.ros import qos
from ros_xai.ros.diagnostics import Finding, to_status
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.parameters import Parameters
from ros_xai.ros.sharing import SHARED

# name -> class; a module is imported when its node is wanted, for what it needs may be missing.
NODES = {
    "depth": "DepthNode",
    "segmentation": "SegmentationNode",
    "forecasting": "ForecastingNode",
    "explanation": "ExplanationNode",
}


class UnavailableError(RuntimeError):
    """A node whose code or libraries are not installed, with what is missing."""


def node_class(name: str) -> type[PerceptionNode[Any, Any]]:
    """The class of the node `name`.

    Raises:
        ConfigError: there is no such node; names the closest.
        UnavailableError: it cannot be imported here.
    """
    if name not in NODES:
        close = difflib.get_close_matches(name, NODES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"expected nodes among {', '.join(NODES)}; got {name!r}{hint}")
    try:
        module = importlib.import_module(f"ros_xai.nodes.{name}")
    except ImportError as error:
        raise UnavailableError(f"{name} cannot be imported: {error}") from error
    found: type[PerceptionNode[Any, Any]] = getattr(module, NODES[name])
    return found


class PerceptionManager(Node):
    """Makes the enabled nodes, starts and stops them together, tries again, and reports.

    Services `~/start` and `~/stop` (std_srvs/Trigger) activate and deactivate every node;
    /diagnostics tells the state of each and how often decoding was shared.

    Attributes:
        members: the nodes of this process, by name.
        unavailable: enabled nodes that cannot run here, with the reason.

    Raises:
        ConfigError: the start values of the parameters cannot be used.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("perception", **arguments)
        self.members: dict[str, PerceptionNode[Any, Any]] = {}
        self.unavailable: dict[str, str] = {}
        self._parameters_of_node = Parameters(self, PerceptionConfig, lambda: False)
        self._tried = time.monotonic()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.output())
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)
        # Wall time, so that it reports while the ROS clock stands still.
        self.create_timer(1.0, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def config(self) -> PerceptionConfig:
        """The present parameters."""
        return self._parameters_of_node.config

    def enabled(self) -> list[str]:
        """Names of the nodes that the parameters ask for."""
        wanted = dataclasses.asdict(self.config)
        return [name for name in NODES if wanted[name]]

    def make_members(self, **arguments: Any) -> list[PerceptionNode[Any, Any]]:
        """Makes the enabled nodes, each of which starts by itself unless its `autostart` is off.

        Raises:
            ConfigError: a node refuses its parameters, or all were given one name.
        """
        for name in self.enabled():
            try:
                member = node_class(name)(**arguments)
            except UnavailableError as error:
                self.unavailable[name] = str(error)
                self.get_logger().error(str(error))
                continue
            if member.get_name() != name:
                raise ConfigError(
                    f"expected the node {name}; it was renamed to {member.get_name()}: a name for "
                    "the process of all nodes (__node, name= in a launch file) would be theirs too"
                )
            self.members[name] = member
        self._feed_explanation()
        return list(self.members.values())

    def _feed_explanation(self) -> None:
        """What explains depth needs the beams depth has seen, which nobody else does."""
        explanation, depth = self.members.get("explanation"), self.members.get("depth")
        if explanation and depth and explanation.config.task == "depth":
            depth.set_parameters([Parameter("publish_sparse", value=True)])

    def report(self) -> tuple[list[Finding], dict[str, str]]:
        """What /diagnostics says: a finding for each node that should run and does not."""
        values = {name: member.state for name, member in self.members.items()}
        values |= dict.fromkeys(self.unavailable, "unavailable")
        values |= {"decoding.made": str(SHARED.made), "decoding.saved": str(SHARED.saved)}
        return list(self._findings()), values

    def _findings(self) -> Iterator[Finding]:
        for why in self.unavailable.values():
            yield Finding("error", why)
        for name, member in self.members.items():
            if member.failure:
                yield Finding("error", f"{name} is {member.state}: {member.failure}")
        explained = self.members.get("explanation")
        depth = self.members.get("depth")
        if explained and depth and explained.state == depth.state == "active":
            needs_sparse = explained.config.task == "depth" and not depth.config.publish_sparse
            if needs_sparse:
                yield Finding("warn", "explanation of depth waits: set publish_sparse of depth")

    def _on_timer(self) -> None:
        period = self.config.retry_period
        if period and time.monotonic() - self._tried >= period:
            self._tried = time.monotonic()
            failed = (m for m in self.members.values() if m.failure and m.config.autostart)
            self._start(member for member in failed if member.state == "unconfigured")
        findings, values = self.report()
        status = to_status(f"{self.get_fully_qualified_name()}: nodes", findings, values)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _start(self, members: Iterable[PerceptionNode[Any, Any]]) -> None:
        for member in members:
            if member.state == "unconfigured":
                member.trigger_configure()
            if member.state == "inactive":
                member.trigger_activate()

    def _on_start(self, request: Any, response: Any) -> Any:
        self._start(self.members.values())
        return self._answered(response, "active")

    def _on_stop(self, request: Any, response: Any) -> Any:
        for member in self.members.values():
            if member.state == "active":
                member.trigger_deactivate()
        return self._answered(response, "inactive")

    def _answered(self, response: Any, expected: str) -> Any:
        """Success when every node is as expected; else which are not, and why."""
        # What was never configured has nothing to stop.
        fine = {expected, "unconfigured"} if expected == "inactive" else {expected}
        wrong = [
            f"{name} is {member.state} {member.failure}".rstrip()
            for name, member in self.members.items()
            if member.state not in fine
        ]
        wrong += self.unavailable.values() if expected == "active" else ()
        response.success = not wrong
        response.message = "; ".join(wrong) or f"{', '.join(self.members) or 'no node'}: {expected}"
        return response


def graph() -> list[Node]:
    """The manager and the nodes that its parameters enable."""
    manager = PerceptionManager()
    return [manager, *manager.make_members()]


def main(args: list[str] | None = None) -> None:
    """Runs the nodes until they are told to stop."""
    sys.exit(run_all(graph, args))


if __name__ == "__main__":
    main()
