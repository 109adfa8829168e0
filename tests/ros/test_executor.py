"""Inputs, services and timers of nodes that one InputsFirst spins."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ros_xai.ros.executor import SELDOM_S, InputsFirst
from tests.waiting import until


@pytest.fixture
def served(ros_context):
    """Two nodes that count on an InputsFirst in a thread, and what failed there."""
    nodes = [Node(name, context=ros_context) for name in ("one", "two")]
    executor, failures = InputsFirst(context=ros_context), []
    for node in nodes:
        executor.add_node(node)

    def spin():
        try:
            executor.spin()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield nodes, failures
    executor.shutdown()
    thread.join(5)
    assert not thread.is_alive()
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def peer(ros_context):
    node = Node("peer", context=ros_context)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown()
    thread.join(5)
    node.destroy_node()


def test_inputs_timers_and_services_are_all_served(served, peer):
    nodes, _ = served
    seen = Counter()
    for node in nodes:
        node.create_timer(0.01, lambda n=node.get_name(): seen.update([f"{n} timer"]))
        name = f"{node.get_name()}/ask"
        node.create_service(Trigger, name, lambda request, response: response)
        # Last, for it is a new input that wakes the executor.
        node.create_subscription(
            String, "words", lambda m, n=node.get_name(): seen.update([n + m.data]), 200
        )
    sender = peer.create_publisher(String, "words", 200)
    until(lambda: sender.get_subscription_count() == 2)
    for number in range(100):
        sender.publish(String(data=str(number)))
    clients = [peer.create_client(Trigger, f"{node.get_name()}/ask") for node in nodes]
    for client in clients:
        assert client.wait_for_service(10.0)
        answer = client.call_async(Trigger.Request())
        until(answer.done)
    until(lambda: all(seen[f"{n}{k}"] for n in ("one", "two") for k in range(100)))
    until(lambda: seen["one timer"] > 3 and seen["two timer"] > 3)
    assert all(count == 1 for what, count in seen.items() if "timer" not in what)


def test_timers_are_looked_at_while_inputs_never_stop(served, peer):
    (node, _), _ = served
    fired, words = [], []
    node.create_timer(0.001, lambda: fired.append(len(words)))
    node.create_subscription(String, "words", lambda m: words.append(time.sleep(0.002)), 1000)
    sender = peer.create_publisher(String, "words", 1000)
    until(lambda: sender.get_subscription_count() == 1)
    for _ in range(300):
        sender.publish(String())
    until(lambda: len(words) == 300, 30)
    # 0.6 s and more of inputs without a pause, and a look every SELDOM_S.
    assert len([at for at in fired if 0 < at < 300]) >= 0.6 / SELDOM_S / 3


def test_an_input_may_come_and_go_while_it_spins(served, peer):
    (node, _), _ = served
    words = []
    sender = peer.create_publisher(String, "words", 10)
    for turn in range(3):
        subscription = node.create_subscription(String, "words", words.append, 10)
        until(lambda: sender.get_subscription_count() == 1)
        sender.publish(String(data=str(turn)))
        until(lambda t=turn: len(words) == t + 1)
        node.destroy_subscription(subscription)
        until(lambda: sender.get_subscription_count() == 0)


@pytest.mark.parametrize("kind", ["input", "timer"])
def test_what_a_callback_raises_ends_the_spinning(served, peer, kind):
    (node, _), failures = served

    def fail(*_):
        raise RuntimeError(kind)

    if kind == "timer":
        node.create_timer(0.01, fail)
    node.create_subscription(String, "words", fail, 10)
    sender = peer.create_publisher(String, "words", 10)
    until(lambda: sender.get_subscription_count() == 1)
    if kind == "input":
        sender.publish(String())
    until(lambda: failures)
    assert [str(error) for error in failures] == [kind]


def test_messages_do_not_make_it_look_at_services(ros_context, peer):
    """rclpy's own executor gathers the services of a node for every message, twice."""
    looks = []

    class Counting(Node):
        @property
        def services(self):
            looks.append(time.monotonic())
            return super().services

    node, words = Counting("counting", context=ros_context), []
    executor = InputsFirst(context=ros_context)
    executor.add_node(node)
    node.create_subscription(String, "words", words.append, 200)
    sender = peer.create_publisher(String, "words", 200)
    until(lambda: sender.get_subscription_count() == 1)
    for _ in range(200):
        sender.publish(String())
    before, begun = len(looks), time.monotonic()
    while len(words) < 200:
        assert time.monotonic() < begun + 20
        executor.spin_once()
    # A look gathers them twice: to wait, and to see which are ready.
    assert len(looks) - before <= 2 * ((time.monotonic() - begun) / SELDOM_S + 2)
    executor.shutdown()
    node.destroy_node()
