"""Publishes a bag's messages as they were recorded, byte for byte, and the clock they imply."""

from __future__ import annotations

import importlib
import struct
from collections import Counter
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from ros_xai.replay.bag import Record, Topic

CLOCK = "/clock"


class Player(Node):
    """One publisher per topic whose message package is installed, and /clock.

    `sent` counts messages per topic; `unplayable` names the topics without a message package.
    """

    def __init__(self, topics: dict[str, Topic], context: rclpy.Context) -> None:
        super().__init__("replay_player", context=context)
        self.sent: Counter[str] = Counter()
        self.unplayable: list[str] = []
        self._by_topic: dict[str, Publisher[Any]] = {}
        for topic in topics.values():
            message_type = find_type(topic.type)
            if message_type is None:
                self.unplayable.append(topic.name)
            else:
                self._by_topic[topic.name] = self.create_publisher(
                    message_type, topic.name, _qos(topic.latched)
                )
        self._clock_publisher = self.create_publisher(Clock, CLOCK, _qos(latched=False))

    def listeners(self, topic: str) -> int:
        """Subscriptions that are matched with the topic's publisher."""
        publisher = self._clock_publisher if topic == CLOCK else self._by_topic.get(topic)
        return publisher.get_subscription_count() if publisher else 0

    def tell_time(self, clock_ns: int) -> None:
        """Publish /clock."""
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(clock_ns, 1_000_000_000)
        self._clock_publisher.publish(message)

    def play(self, record: Record) -> bool:
        """Publish the message, unless nobody listens and nobody could later."""
        publisher = self._by_topic.get(record.topic)
        if publisher is None:
            return False
        latched = publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        if not latched and not publisher.get_subscription_count():
            return False
        publisher.publish(record.data)
        self.sent[record.topic] += 1
        return True


def find_type(name: str) -> Any | None:
    """The message class of a type such as sensor_msgs/msg/Image; None if there is none."""
    match name.split("/"):
        case [package, "msg", message]:
            try:
                return getattr(importlib.import_module(f"{package}.msg"), message, None)
            except ImportError:
                return None
    return None


def stamp_of(data: bytes) -> int | None:
    """Nanoseconds of a serialised message that begins with a std_msgs/Header; None if cut off."""
    if len(data) < 12:
        return None
    order = "<" if data[1] == 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds * 1_000_000_000 + nanoseconds)


def stamp_of_record(record: Record) -> int | None:
    """`stamp_of` of a recorded message; a MarkerArray's is that of its first marker."""
    if record.type.endswith("/MarkerArray"):
        return stamp_of(record.data[:4] + record.data[8:])
    return stamp_of(record.data)


def _qos(latched: bool) -> QoSProfile:
    return QoSProfile(
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
