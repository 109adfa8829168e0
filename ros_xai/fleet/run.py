"""A run: which tasks are left, who does them, what came of them."""

from __future__ import annotations

import datetime
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ros_xai.fleet.bags import BagFile, fingerprints
from ros_xai.fleet.engines import Engine
from ros_xai.fleet.tables import Store, write_whole
from ros_xai.fleet.tasks import Candidate, Needs, Task, version
from ros_xai.replay.results import write_json


@dataclass(frozen=True)
class Plan:
    """What to evaluate. The first candidate is the one that the others are compared with."""

    bags: Sequence[BagFile]
    candidates: Sequence[Candidate]
    topics: Mapping[str, str] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)
    retries: int = 2


@dataclass(frozen=True)
class Failure:
    """A task that was given up after its last attempt, with the path of its log."""

    bag: str
    config: str
    error: str
    attempts: int
    log: Path


@dataclass
class Summary:
    """What a run did; `keys` of all its tasks by (bag, candidate)."""

    keys: dict[tuple[str, str], str]
    unreadable: dict[str, str]
    same: dict[str, str]
    failures: list[Failure] = field(default_factory=list)
    already: int = 0
    done: int = 0
    attempts: int = 0


class Progress:
    """Is told how far the run is; this one is silent."""

    def hashing(self, bags: int) -> None:
        """The bags are read for their hashes."""

    def begin(self, total: int, done: int) -> None:
        """The tasks begin, of which some are done already."""

    def task(self, bag: str, config: str, outcome: str) -> None:
        """A task ended: done, retried or failed."""


def run(plan: Plan, store: Store, engine: Engine, progress: Progress) -> Summary:
    """Do every task that is not done yet; KeyboardInterrupt leaves what was finished.

    A task that fails is tried again `plan.retries` times after the others, then given up.
    """
    progress.hashing(len(plan.bags))
    hashes = fingerprints(plan.bags, store.folder / "hashes.json")
    tasks, summary = _tasks(plan, hashes)
    _describe(plan, hashes, store, engine, summary)
    done = store.done()
    left = deque(task for key, task in tasks.items() if key not in done)
    summary.already = len(tasks) - len(left)
    progress.begin(len(tasks), summary.already)
    numbers: Counter[str] = Counter()
    running: set[str] = set()
    while left or running:
        while left and len(running) < engine.slots():
            task = left.popleft()
            numbers[task.key] += 1
            running.add(task.key)
            engine.submit(task, numbers[task.key])
        for outcome in engine.wait():
            running.discard(outcome.key)
            task = tasks[outcome.key]
            summary.attempts += 1
            if not outcome.error:
                store.add(outcome.key, outcome.parts)
                summary.done += 1
                told = "done"
            elif numbers[outcome.key] <= plan.retries:
                left.append(task)
                told = f"again: {outcome.error}"
            else:
                log = store.folder / "logs" / f"{task.bag.replace('/', '_')}.{task.candidate.name}"
                log.parent.mkdir(exist_ok=True)
                write_whole(log, f"{outcome.error}\n\n{outcome.log}".encode())
                attempts = numbers[outcome.key]
                summary.failures.append(
                    Failure(task.bag, task.candidate.name, outcome.error, attempts, log)
                )
                told = f"failed: {outcome.error}"
            progress.task(task.bag, task.candidate.name, told)
    return summary


def _tasks(plan: Plan, hashes: Mapping[str, str | None]) -> tuple[dict[str, Task], Summary]:
    """Tasks by key, each once, candidate after candidate on one bag while its pages are cached."""
    tasks: dict[str, Task] = {}
    summary = Summary({}, {}, {})
    first: dict[str, str] = {}
    for bag in plan.bags:
        sha256 = hashes[bag.name]
        if sha256 is None:
            summary.unreadable[bag.name] = f"no bag: nothing can be read at {bag.path}"
            continue
        if first.setdefault(sha256, bag.name) != bag.name:
            summary.same[bag.name] = first[sha256]
            continue
        for candidate in plan.candidates:
            task = Task(
                bag.name,
                bag.path,
                sha256,
                candidate,
                version(),
                plan.topics,
                bag.node,
                plan.needs,
            )
            tasks.setdefault(task.key, task)
            summary.keys[bag.name, candidate.name] = task.key
    return tasks, summary


def _describe(
    plan: Plan,
    hashes: Mapping[str, str | None],
    store: Store,
    engine: Engine,
    summary: Summary,
) -> None:
    """run.json, and index.parquet: which bag and candidate each key of this run belongs to."""
    by_name = {bag.name: bag for bag in plan.bags}
    rows = [
        {
            "key": key,
            "bag": bag,
            "config": config,
            "path": str(by_name[bag].path),
            "bag_sha256": hashes[bag],
            "tags": list(by_name[bag].tags.items()),
        }
        for (bag, config), key in summary.keys.items()
    ]
    names = ("key", "bag", "config", "path", "bag_sha256")
    schema = pa.schema(
        {**{name: pa.string() for name in names}, "tags": pa.map_(pa.string(), pa.string())}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="zstd")
    write_whole(store.folder / "index.parquet", sink.getvalue().to_pybytes())
    described: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "engine": engine.name,
        "version": version(),
        "bags": len(plan.bags),
        "topics": dict(plan.topics),
        "configs": [
            {
                "name": candidate.name,
                "path": None if candidate.path is None else str(candidate.path),
                "sha256": candidate.sha256,
                "text": candidate.text,
            }
            for candidate in plan.candidates
        ],
        "unreadable": summary.unreadable,
        "same": summary.same,
    }
    write_json(store.folder / "run.json", described)
