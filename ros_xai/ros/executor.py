"""An executor for nodes whose inputs come often and all else seldom."""

from __future__ import annotations

import time
from typing import Any

from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.node import Node

SELDOM_S = 0.05  # between two looks at timers, services and events


class _Inputs:
    """A node as its subscriptions alone."""

    timers = clients = services = guards = waitables = ()

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def subscriptions(self) -> Any:
        return self._node.subscriptions


class InputsFirst(SingleThreadedExecutor):
    """Waits for subscriptions, and serves timers, services and events every `SELDOM_S` seconds.

    rclpy builds its wait set anew about twice for each message, and most of what a lifecycle node
    holds is services: with four nodes the executor would spend more time on those, which hardly
    ever have anything, than on the messages.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._inputs: dict[Node, _Inputs] = {}
        self._inputs_only = False
        self._next_look = 0.0

    def add_node(self, node: Node) -> bool:
        """Takes the node's callbacks; of those ready at once, the first node's come first."""
        self._inputs.setdefault(node, _Inputs(node))
        return super().add_node(node)

    def remove_node(self, node: Node) -> None:
        """Leaves the node's callbacks alone."""
        super().remove_node(node)
        self._inputs.pop(node, None)

    def get_nodes(self) -> list[Any]:
        """The nodes, or their inputs where only those are waited for."""
        inputs = list(self._inputs.items())
        return [only if self._inputs_only else node for node, only in inputs]

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """At most one input, or all that is ready; waits `SELDOM_S` at most, whatever is given."""
        if time.monotonic() >= self._next_look:
            self._serve_all()
            self._next_look = time.monotonic() + SELDOM_S
            return
        self._inputs_only = True
        try:
            # Always the same time-out, or rclpy would drop what else the wait has found ready.
            super().spin_once(SELDOM_S)
        finally:
            self._inputs_only = False

    def _serve_all(self) -> None:
        while True:
            try:
                handler, _, _ = self.wait_for_ready_callbacks(0.0)
            except (TimeoutException, ShutdownException):
                return
            handler()
            handler.result()
