from __future__ import annotations

import gc
import threading
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros_xai.ros.worker import Worker


class Gate:
    """A handler that records items and can be held inside one."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.failed: list[tuple[object, Exception]] = []
        self.inside = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def __call__(self, item: object) -> None:
        self.inside.set()
        assert self.open.wait(10)
        if isinstance(item, Exception):
            raise item
        self.done.append(item)

    def worker(self) -> Worker[object]:
        return Worker(self, lambda item, error: self.failed.append((item, error)), "test")

    def hold(self, worker: Worker[object], item: object) -> None:
        """Submits an item and returns once it is in work, where it stays until `open` is set."""
        self.open.clear()
        self.inside.clear()
        assert worker.submit(item) == []
        assert self.inside.wait(10)


def settle(worker: Worker[object]) -> None:
    settled = threading.Event()
    while not worker.idle():
        settled.wait(0.001)


def test_the_newest_of_those_that_wait_is_worked_on_and_the_others_come_back():
    gate = Gate()
    worker = gate.worker()
    gate.hold(worker, "first")
    assert worker.submit("second") == []
    assert worker.submit("third") == ["second"]
    assert worker.pending() == 2
    assert not worker.idle()
    gate.open.set()
    settle(worker)
    assert gate.done == ["first", "third"]
    assert worker.stop(5) == (True, [])


def test_none_is_an_item_like_others():
    gate = Gate()
    worker = gate.worker()
    gate.hold(worker, 1)
    worker.submit(None)
    assert worker.submit(2) == [None]
    gate.open.set()
    worker.stop(5)


def test_an_error_is_handed_over_and_the_next_item_is_worked_on():
    gate = Gate()
    worker = gate.worker()
    broken = RuntimeError("bad item")
    worker.submit(broken)
    settle(worker)
    worker.submit("good")
    settle(worker)
    assert gate.failed == [(broken, broken)]
    assert gate.done == ["good"]
    worker.stop(5)


def test_stop_lets_the_item_in_work_end_and_returns_the_one_that_waited():
    gate = Gate()
    worker = gate.worker()
    gate.hold(worker, "in work")
    worker.submit("waits")
    threading.Timer(0.05, gate.open.set).start()
    assert worker.stop(5) == (True, ["waits"])
    assert gate.done == ["in work"]
    assert worker.submit("late") == ["late"]


def test_stop_gives_up_on_an_item_that_never_ends():
    gate = Gate()
    worker = gate.worker()
    gate.hold(worker, "stuck")
    ended, left = worker.stop(0.05)
    assert (ended, left) == (False, [])
    gate.open.set()


def test_a_worker_that_waits_keeps_no_item_alive():
    class Item:
        pass

    gate = Gate()
    worker = gate.worker()
    item = Item()
    alive = weakref.ref(item)
    worker.submit(item)
    del item
    settle(worker)
    gate.done.clear()
    gc.collect()
    assert alive() is None
    worker.stop(5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
@pytest.mark.parametrize("fails", [False, True])
def test_every_item_has_one_end_and_order_is_kept(fails, pauses):
    gate = Gate()
    worker = gate.worker()
    superseded = []
    for number, pause in enumerate(pauses):
        superseded += worker.submit(ValueError(number) if fails else number)
        if pause:
            settle(worker)
    _, left = worker.stop(5)
    worked = [item for item, _ in gate.failed] if fails else gate.done
    ends = [item.args[0] if fails else item for item in worked + superseded + left]
    assert sorted(ends) == list(range(len(pauses)))
    numbers = [item.args[0] if fails else item for item in worked]
    assert numbers == sorted(numbers)
