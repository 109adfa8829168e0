"""What the distribution's message_filters and our equivalent both promise."""

from __future__ import annotations

import types
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Header


class Inputs:
    """Filters that stand for subscriptions, and what a synchroniser made of their messages."""

    def __init__(self, module: Any, count: int = 3) -> None:
        self.filters = [module.SimpleFilter() for _ in range(count)]
        self.sets: list[tuple[int, ...]] = []

    def on_set(self, *messages: Any) -> None:
        self.sets.append(tuple(m.header.stamp.nanosec // 10**6 for m in messages))

    def add(self, index: int, *milliseconds: int) -> None:
        for stamp in milliseconds:
            message = types.SimpleNamespace(header=Header(stamp=Time(nanosec=stamp * 10**6)))
            self.filters[index].signalMessage(message)


def exact(module: Any, queue_size: int = 10) -> Inputs:
    inputs = Inputs(module)
    synchronizer = module.TimeSynchronizer(inputs.filters, queue_size)
    synchronizer.registerCallback(inputs.on_set)
    return inputs


def approximate(module: Any, slop: float, queue_size: int = 10) -> Inputs:
    inputs = Inputs(module)
    synchronizer = module.ApproximateTimeSynchronizer(inputs.filters, queue_size, slop)
    synchronizer.registerCallback(inputs.on_set)
    return inputs


def test_filters_pass_messages_and_arguments_to_all_callbacks(message_filters: Any) -> None:
    source, seen = message_filters.SimpleFilter(), []
    source.registerCallback(lambda *a: seen.append(("first", *a)))
    source.registerCallback(lambda *a: seen.append(("second", *a)), "extra", 3)
    source.signalMessage("message")
    assert seen == [("first", "message"), ("second", "message", "extra", 3)]


def test_exact_sets_need_every_input(message_filters: Any) -> None:
    inputs = exact(message_filters)
    inputs.add(0, 100, 200)
    inputs.add(1, 200, 300)
    assert inputs.sets == []
    inputs.add(2, 200)
    assert inputs.sets == [(200, 200, 200)]


def test_exact_sets_may_complete_out_of_order(message_filters: Any) -> None:
    inputs = exact(message_filters)
    inputs.add(0, 100, 200)
    inputs.add(1, 200, 100)
    inputs.add(2, 200, 100)
    assert inputs.sets == [(200,) * 3, (100,) * 3]


def test_exact_queues_are_bounded(message_filters: Any) -> None:
    inputs = exact(message_filters, queue_size=2)
    inputs.add(0, 100, 200, 300)
    for index in (1, 2):
        inputs.add(index, 100)
        inputs.add(index, 300)
    assert inputs.sets == [(300,) * 3]


def test_duplicates_give_one_set(message_filters: Any) -> None:
    for inputs in (exact(message_filters), approximate(message_filters, 0.05)):
        inputs.add(0, 100, 100)
        inputs.add(1, 100, 100)
        inputs.add(2, 100)
        assert inputs.sets == [(100,) * 3]


def test_approximate_sets_take_the_nearest(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 80, 95, 120)
    inputs.add(1, 60, 110)
    inputs.add(2, 100)
    assert inputs.sets == [(95, 110, 100)]


def test_approximate_sets_span_less_than_the_slop(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 60)
    inputs.add(1, 120)
    inputs.add(2, 90)  # 30 ms from both, which are 60 ms apart
    assert inputs.sets == []
    inputs.add(0, 75)  # 45 ms from the farthest
    assert inputs.sets == [(75, 120, 90)]


def test_approximate_sets_use_messages_once(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 100)
    inputs.add(1, 100)
    inputs.add(2, 100, 110, 120)
    assert inputs.sets == [(100,) * 3]


def test_approximate_sets_fall_back_to_the_next_nearest(message_filters: Any) -> None:
    inputs = approximate(message_filters, slop=0.05)
    inputs.add(0, 70, 135)  # 70 is nearest to 100, but too far from 130
    inputs.add(1, 130)
    inputs.add(2, 100)
    assert inputs.sets == [(135, 130, 100)]


def test_a_subscriber_is_a_filter(message_filters: Any, ros_context: Any) -> None:
    node = Node("listener", context=ros_context)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    seen: list[Any] = []
    subscriber = message_filters.Subscriber(node, Header, "headers")
    subscriber.registerCallback(seen.append)
    assert subscriber.getTopic() == "headers"
    publisher = node.create_publisher(Header, "headers", 10)
    for _ in range(100):
        publisher.publish(Header(frame_id="camera"))
        executor.spin_once(timeout_sec=0.1)
        if seen:
            break
    node.destroy_node()
    assert seen[0] == Header(frame_id="camera")
