"""How much of a machine a node may take."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.ros.errors import MessageError

Predict = Callable[[NDArray[np.float32]], Any]


def set_apart(niceness: int, idle: bool, work: Callable[[], None]) -> None:
    """Runs `work` in a thread that is as nice, and raises what it raises.

    In a new one each time, for without privileges no thread takes back what it gave up.
    """
    failed: list[Exception] = []

    def run() -> None:
        try:
            be_nice(niceness, idle)
            work()
        except Exception as error:
            failed.append(error)

    # A daemon, so that a forward that gets no core cannot keep the process alive.
    thread = threading.Thread(target=run, name="nice worker", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def be_nice(niceness: int, idle: bool) -> None:
    """Gives the calling thread at least that niceness, which threads it starts inherit.

    idle: it runs only while no other thread wants its core, and is put aside at once when one does;
    a nice thread keeps the core until its slice of some milliseconds is over.
    On Linux both are a thread's own; elsewhere they would be the whole process's.
    """
    if os.uname().sysname == "Linux":
        thread = threading.get_native_id()
        present = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(present, niceness))
        if idle:
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


class Budget:
    """Meters a network's calls: sleeps so that no second holds more than `ms_per_second` of them.

    ms: what the calls took so far.
    """

    def __init__(self, ms_per_second: float, wanted: Callable[[], bool]) -> None:
        self.ms = 0.0
        self._rest = 1000.0 / ms_per_second - 1.0
        self._wanted = wanted

    def metered(self, predict: Predict) -> Predict:
        """`predict` that rests after each call; MessageError once the node is inactive."""

        def call(inputs: NDArray[np.float32]) -> Any:
            if not self._wanted():
                raise MessageError("inactive", "deactivated during an explanation")
            begun = time.perf_counter()
            outputs = predict(inputs)
            took = time.perf_counter() - begun
            self.ms += 1e3 * took
            rested = time.perf_counter() + took * self._rest
            while self._wanted() and (left := rested - time.perf_counter()) > 0:
                time.sleep(min(left, 0.05))  # in short naps, so that the node stops at once
            return outputs

        return call
