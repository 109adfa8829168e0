"""Nodes in a process of their own."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ros_xai.core.config import ConfigError
from ros_xai.ros.executor import InputsFirst

_LAST_CALLBACK_S = 1.0  # many times what the callback of an input takes; to load a network is more
_LOOK_S = 1.0  # at the nodes' states
_COPIES_S = 1.0  # a terminal, a container and launch may each pass on one Ctrl-C


def run(makers: Sequence[Callable[[], Node]], args: list[str] | None = None) -> int:
    """`run_all` of nodes that are made one by one."""
    return run_all(lambda: [make() for make in makers], args)


def run_all(make: Callable[[], Sequence[Node]], args: list[str] | None = None) -> int:
    """Runs the nodes until SIGINT or SIGTERM; one more, a second later, ends the process at once.

    rclpy's own handlers end the context first, and with it the publishers that a frame in work
    still needs; so the signals are taken here, in a main thread that has nothing else to do.

    Returns the exit code: 0 after a signal, 1 when the executor failed, 2 for unusable arguments
    or parameters.
    """
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # of rcl, which ends with where in its sources it arose
        print(" ".join(str(error).split(", at /")[0].split()), file=sys.stderr)
        return 2
    try:
        nodes = make()
    except ConfigError as error:
        print(error, file=sys.stderr)
        rclpy.shutdown()
        return 2
    # One thread is enough, as callbacks only decode and the work has threads of its own. rclpy's
    # multi-threaded executor submits a ready event again and again until a pool thread has taken
    # it: under load it keeps the interpreter lock busy and every other thread waits for it.
    executor = InputsFirst()
    for node in nodes:
        executor.add_node(node)
    spinner = _Spinner(executor, stop)
    spinner.start()
    settled: list[object] = []
    while not stop.wait(_LOOK_S):
        states = [getattr(node, "state", None) for node in nodes]
        if states != settled:
            _settle_heap()
            settled = states
    spinner.join(_LAST_CALLBACK_S)  # before its executor and nodes go away
    for node in nodes:
        executor.remove_node(node)
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()
    return _leave(1 if spinner.failed else 0)


def _leave(code: int) -> int:
    """`code`, if no thread is left; else ends the process with it.

    A thread that comes back from C++ while the interpreter is taken down aborts the process, and
    work that does not end in time leaves such a thread behind.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _settle_heap() -> None:
    """Tells the garbage collector that what is loaded stays.

    To walk the objects of the libraries takes it about 0.1 s, in which no thread of the process
    runs: each time, the frames of all nodes would be late.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class _Spinner(threading.Thread):
    """Spins the executor until `stop`; a failure stops the process instead of leaving it deaf."""

    def __init__(self, executor: Executor, stop: threading.Event) -> None:
        super().__init__(name="executor", daemon=True)
        self._executor = executor
        self._stop_process = stop
        self.failed = False

    def run(self) -> None:
        try:
            while not self._stop_process.is_set():
                self._executor.spin_once()
        except BaseException:
            self.failed = True
            raise
        finally:
            self._stop_process.set()


def _stop_on_signals(stop: threading.Event) -> None:
    first: list[float] = []

    def on_signal(number: int, frame: object) -> None:
        first.append(time.monotonic())
        if first[-1] - first[0] > _COPIES_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
