"""The node as a process of its own, as `ros2 run` starts it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from ros_xai.nodes.host import _settle_heap

CONFIG = Path(__file__).parents[2] / "config" / "perception.yaml"


def start(context, *arguments):
    environment = {**os.environ, "ROS_DOMAIN_ID": str(context.get_domain_id())}
    return subprocess.Popen(
        [sys.executable, "-m", "ros_xai.nodes.depth", "--ros-args", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_cleanly(ros_context, number):
    process = start(ros_context, "-r", "__ns:=/car", "--params-file", str(CONFIG))
    peer = Node("peer", context=ros_context)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(peer)
    try:
        while peer.count_subscribers("/car/image") == 0:
            assert process.poll() is None, process.stderr.read()
            executor.spin_once(timeout_sec=0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        executor.shutdown()
        peer.destroy_node()
    assert process.returncode == 0
    assert errors == ""


# The interpreter takes a while to go down, as under load; what still runs then would abort it.
SLOW_TO_LEAVE = """
import os, signal, sys, time
import torch
from rclpy.node import Node
from ros_xai.nodes.host import run

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.3)

slow = Slow()
slow.itself = slow

class Restless(Node):
    def __init__(self):
        super().__init__("restless")
        self.calls = 0
        self.create_timer(0.001, self.call)

    def call(self):
        self.calls += 1
        if self.calls == 20:
            os.kill(os.getpid(), signal.SIGINT)
            while sys.argv[1] == "hangs":  # in C++ and back
                torch.ones(100, 100) @ torch.ones(100, 100)

sys.exit(run([Restless]))
"""


@pytest.mark.parametrize("last_callback", ["ends", "hangs"])
def test_no_thread_outlives_the_interpreter(ros_context, last_callback):
    ended = subprocess.run(
        [sys.executable, "-c", SLOW_TO_LEAVE, last_callback],
        env={**os.environ, "ROS_DOMAIN_ID": str(ros_context.get_domain_id())},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_unusable_parameters_end_the_process_with_what_was_expected(ros_context):
    process = start(ros_context, "-p", "rings:=[-1]")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == (
        "parameters of /depth: rings: expected numbers from 0 (the top beam); got (-1,)\n"
    )


class Loaded:
    """Something that only the garbage collector frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_loaded_is_not_walked_and_what_is_unloaded_is_freed():
    kept = Loaded()
    left = weakref.ref(kept)
    try:
        _settle_heap()
        del kept
        gc.collect()
        assert left() is not None  # frozen: the collector passes it by
        _settle_heap()
        assert left() is None
    finally:
        gc.unfreeze()
