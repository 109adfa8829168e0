"""A small node, and somebody who talks to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage

from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.parameters import NodeConfig, parameter
from tests.waiting import until


@dataclass(frozen=True)
class EchoConfig(NodeConfig):
    model: str = parameter("good", "what is loaded", reload=True)


class EchoNode(PerceptionNode[EchoConfig, str]):
    """Gives every image back; its format tells how it is to be treated."""

    def __init__(self, **arguments):
        self.open = threading.Event()
        self.open.set()
        self.loaded: list[str] = []
        self.forgotten: list[str] = []
        super().__init__("echo", "image", EchoConfig, **arguments)

    def load(self, config):
        if config.model == "missing":
            raise FileNotFoundError("no file missing.safetensors")
        self.loaded.append(config.model)
        self.echo = self.output(CompressedImage, "echo/image")
        return {"model": config.model, "engine": "none"}

    def unload(self):
        self.loaded.clear()

    def connect(self):
        self.listen(CompressedImage, "image", "image", self.on_image)

    def on_image(self, arrival):
        if arrival.message.format == "broken callback":
            raise KeyError("unforeseen")
        self.pipeline.submit(arrival, arrival.message.format)

    def forget(self, why):
        self.forgotten.append(why)

    def process(self, frame):
        assert self.open.wait(10)
        if frame.payload == "refused":
            raise MessageError("encoding", "expected something else")
        if frame.payload == "broken work":
            raise ZeroDivisionError("unforeseen")
        with frame.stages("inference"):
            pass
        self.publish(self.echo, CompressedImage(header=frame.header, format=frame.payload))


class Rig:
    """An EchoNode, somebody who talks to it, and an executor for both."""

    def __init__(self, context, **parameters) -> None:
        self.context = context
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = EchoNode(context=context, namespace="car", parameter_overrides=overrides)
        self.peer = Node("peer", context=context, namespace="car")
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.images = self.peer.create_publisher(CompressedImage, "image", 10)
        self.answers: list[CompressedImage] = []
        self.peer.create_subscription(CompressedImage, "echo/image", self.answers.append, 10)

    def until(self, condition: Callable[[], object]) -> None:
        until(condition, meanwhile=lambda: self.executor.spin_once(timeout_sec=0.02))

    def connect(self) -> Rig:
        self.until(lambda: self.images.get_subscription_count() == 1)
        self.until(lambda: self.node.echo.get_subscription_count() == 1)
        return self

    def send(self, stamp: int, format: str = "jpeg") -> None:
        message = CompressedImage(format=format)
        message.header.stamp.sec = stamp
        message.header.frame_id = "camera"
        before = self.node.received["/car/image"]
        self.images.publish(message)
        self.until(lambda: self.node.received["/car/image"] == before + 1)

    def status(self) -> DiagnosticStatus:
        reports: list[DiagnosticArray] = []
        subscription = self.peer.create_subscription(
            DiagnosticArray, "/diagnostics", reports.append, 10
        )
        self.until(lambda: reports)
        self.peer.destroy_subscription(subscription)
        return reports[-1].status[0]

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()

    def accounted(self) -> bool:
        node = self.node
        return node.frames_in == node.answered + node.monitor.frame_drops() + node.pending()


@pytest.fixture
def rig(ros_context) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**parameters) -> Rig:
        rigs.append(Rig(ros_context, **parameters))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()
