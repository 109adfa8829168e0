"""The run's bookkeeping, with an engine that does as it is told."""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path

import pytest

from ros_xai.fleet.attempt import Outcome
from ros_xai.fleet.bags import BagFile
from ros_xai.fleet.run import Plan, Progress, run
from ros_xai.fleet.tables import SCHEMAS, Store, encode
from ros_xai.fleet.tasks import Candidate, Task

OLD, NEW = Candidate("old", "a: 1", sha256="1"), Candidate("new", "a: 2", sha256="2")


class Scripted:
    """Fails a (bag, config) as often as `failures` says; a KeyboardInterrupt after so many ends."""

    name = "scripted"

    def __init__(self, failures: dict[tuple[str, str], int] | None = None, stop: int = 10**9):
        self.failures, self.stop = dict(failures or {}), stop
        self.submitted: Counter[tuple[str, str]] = Counter()
        self._ended: deque[Outcome] = deque()
        self._running = self.most = 0

    def slots(self) -> int:
        return 2

    def submit(self, task: Task, number: int) -> None:
        pair = (task.bag, task.candidate.name)
        self.submitted[pair] += 1
        assert number == self.submitted[pair]
        self._running += 1
        self.most = max(self.most, self._running)
        if self.failures.get(pair, 0) >= number:
            self._ended.append(Outcome(task.key, error="it broke", log="the whole story"))
        else:
            parts = {table: encode(table, []) for table in SCHEMAS}
            self._ended.append(Outcome(task.key, parts))

    def wait(self) -> list[Outcome]:
        if self.stop == 0:
            raise KeyboardInterrupt
        self.stop -= 1
        self._running -= 1
        return [self._ended.popleft()]

    def close(self) -> None:
        pass


def plan(tmp_path: Path, bags: str = "abc", retries: int = 2) -> Plan:
    files = []
    for name in bags:
        path = tmp_path / f"{name}.mcap"
        path.write_bytes(name.lower().encode())
        files.append(BagFile(name, path))
    return Plan(files, [OLD, NEW], retries=retries)


def test_every_task_is_done_once_within_the_slots(tmp_path: Path) -> None:
    engine, store = Scripted(), Store(tmp_path / "out")
    summary = run(plan(tmp_path), store, engine, Progress())
    assert set(engine.submitted.values()) == {1} and len(engine.submitted) == 6
    assert engine.most == 2
    assert (summary.done, summary.already, summary.failures) == (6, 0, [])
    assert store.done() == set(summary.keys.values()) and len(store.done()) == 6


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store, first, second = Store(tmp_path / "out"), Scripted(stop=2), Scripted()
    with pytest.raises(KeyboardInterrupt):
        run(plan(tmp_path), store, first, Progress())
    assert len(store.done()) == 2
    summary = run(plan(tmp_path), store, second, Progress())
    assert (summary.already, summary.done, len(second.submitted)) == (2, 4, 4)
    third = Scripted()
    assert run(plan(tmp_path), store, third, Progress()).already == 6
    assert not third.submitted


def test_a_failing_task_is_tried_again_then_given_up_with_its_log_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    engine = Scripted({("a", "old"): 2, ("b", "new"): 99})
    store = Store(tmp_path / "out")
    summary = run(plan(tmp_path, retries=2), store, engine, Progress())
    assert engine.submitted["a", "old"] == engine.submitted["b", "new"] == 3
    assert (summary.done, summary.attempts) == (5, 3 + 3 + 4)
    (failure,) = summary.failures
    assert (failure.bag, failure.config, failure.attempts) == ("b", "new", 3)
    assert failure.log.read_text() == "it broke\n\nthe whole story"
    again = Scripted()
    assert run(plan(tmp_path), store, again, Progress()).done == 1  # given up is not done


def test_copies_of_a_bag_count_once_and_a_missing_one_is_named(tmp_path: Path) -> None:
    engine = Scripted()
    given = plan(tmp_path, "aAb")  # a and A have the same content
    bags = [*given.bags, BagFile("gone", tmp_path / "gone.mcap")]
    summary = run(Plan(bags, given.candidates), Store(tmp_path / "out"), engine, Progress())
    assert {bag for bag, _ in engine.submitted} == {"a", "b"}
    assert summary.same == {"A": "a"}
    assert "gone.mcap" in summary.unreadable["gone"]
