"""What an explanation may take of the machine: its share of a second, its thread's priority."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from ros_xai.nodes.budget import Budget, be_nice
from ros_xai.ros.errors import MessageError


def test_the_budget_rests_in_proportion(monkeypatch) -> None:
    """20 ms of work at 250 ms per second: 60 ms of rest."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def predict(inputs: np.ndarray) -> np.ndarray:
        now[0] += 0.02
        return inputs

    budget = Budget(250.0, lambda: True)
    call = budget.metered(predict)
    call(np.zeros(1, np.float32))
    call(np.zeros(1, np.float32))
    assert now[0] == pytest.approx(0.16)
    assert budget.ms == pytest.approx(40)
    with pytest.raises(MessageError, match="deactivated"):
        Budget(250.0, lambda: False).metered(predict)(np.zeros(1, np.float32))


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="elsewhere a thread has no policy")
def test_the_working_thread_gives_way_to_others() -> None:
    """Policy and niceness of the thread that asks, and of one that it starts; no other's."""

    def priorities() -> tuple[int, int]:
        thread = threading.get_native_id()
        return os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)

    found: list[tuple[int, int]] = []

    def work(idle: bool) -> None:
        be_nice(7, idle)
        found.append(priorities())
        inner = threading.Thread(target=lambda: found.append(priorities()))
        inner.start()
        inner.join()

    before = priorities()
    for idle in (True, False):
        worker = threading.Thread(target=work, args=(idle,))
        worker.start()
        worker.join()
    nice = max(7, before[1])
    assert found == 2 * [(os.SCHED_IDLE, nice)] + 2 * [(os.SCHED_OTHER, nice)]
    assert priorities() == before
