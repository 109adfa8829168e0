"""Writes what the nodes publish into a bag, stamped with the replay's clock."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from ros_xai.replay.player import stamp_of
from ros_xai.world.bag_writer import BagWriter


class Arrival(NamedTuple):
    """One output: the stamp of its header, the replay's clock and the wall clock at its arrival."""

    topic: str
    stamp_ns: int
    clock_ns: int
    wall_s: float


class Recorder(Node):
    """Subscribes the given publishers' topics; `received` counts messages per topic.

    `now` gives the time of recording in nanoseconds. Outputs that begin with a header leave an
    `Arrival`.
    """

    def __init__(
        self,
        outputs: list[Publisher[Any]],
        bag: BagWriter,
        now: Callable[[], int],
        context: rclpy.Context,
    ) -> None:
        super().__init__("replay_recorder", context=context)
        self.received: Counter[str] = Counter()
        self.arrivals: list[Arrival] = []
        self._bag = bag
        self._now = now
        for publisher in outputs:
            self._subscribe(publisher)

    def _subscribe(self, publisher: Publisher[Any]) -> None:
        topic, message_type = publisher.topic_name, publisher.msg_type
        package, kind = message_type.__module__.split(".")[0], message_type.__name__
        fields = message_type.get_fields_and_field_types()
        stamped = next(iter(fields.items()), None) == ("header", "std_msgs/Header")

        def record(data: bytes) -> None:
            wall_s, clock_ns = time.perf_counter(), self._now()
            self._bag.cdr(topic, f"{package}/msg/{kind}", data, clock_ns)
            stamp_ns = stamp_of(data) if stamped else None
            if stamp_ns is not None:
                self.arrivals.append(Arrival(topic, stamp_ns, clock_ns, wall_s))
            self.received[topic] += 1

        # A best-effort publisher and a reliable subscription would never meet.
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_ALL,
            reliability=publisher.qos_profile.reliability,
            durability=publisher.qos_profile.durability,
        )
        if qos.reliability != ReliabilityPolicy.RELIABLE:
            self.get_logger().warning(f"{topic} is best effort: messages may be lost on the way")
        self.create_subscription(message_type, topic, record, qos, raw=True)
