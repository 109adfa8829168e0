"""Nodes of a test that spin while it looks on."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node


class Spinning:
    """Spins nodes in a thread until it is closed, which destroys them."""

    def __init__(self, context: Any, *nodes: Node) -> None:
        self.nodes = nodes
        self.executor = SingleThreadedExecutor(context=context)
        for node in nodes:
            self.executor.add_node(node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def close(self) -> None:
        for node in self.nodes:
            self.executor.remove_node(node)
        time.sleep(0.05)  # callbacks that still run need what shutdown takes away
        self.executor.shutdown()
        self.thread.join(5)
        for node in self.nodes:
            node.destroy_node()
