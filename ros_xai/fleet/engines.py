"""Where tasks run: processes of this machine, or a Ray cluster. Both give the same rows."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from ros_xai.core.config import ConfigError
from ros_xai.fleet.attempt import Outcome, attempt, end_all
from ros_xai.fleet.tasks import Needs, Task

POLL_S = 0.5
CONNECT_S = 10.0
QUEUED = 2  # tasks per slot in Ray's hands: one at work, one ready; more would only fill its store
LOST_WORKERS = 3  # how often Ray repeats a task whose worker or node died
OBJECT_STORE = 256 << 20  # bytes, of a Ray started here: only rows pass through it


class Engine(Protocol):
    """Runs tasks; `wait` returns those that ended, after POLL_S at the latest."""

    name: str

    def slots(self) -> int:
        """Tasks that may be in its hands at a time."""

    def submit(self, task: Task, number: int) -> None:
        """Begin the task's attempt of this number."""

    def wait(self) -> list[Outcome]:
        """What ended since the last call."""

    def close(self) -> None:
        """Stop what still runs."""


def _check_answers(address: str) -> None:
    """Raise ConfigError where nobody listens: Ray itself would try for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():  # auto, local, a name
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}") from None


class Local:
    """As many child processes at a time as `jobs` says."""

    name = "local"

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool = ThreadPoolExecutor(jobs)
        self._running: set[Future[Outcome]] = set()

    def slots(self) -> int:
        return self._jobs

    def submit(self, task: Task, number: int) -> None:
        self._running.add(self._pool.submit(attempt, task, number))

    def wait(self) -> list[Outcome]:
        done, self._running = wait(self._running, POLL_S, FIRST_COMPLETED)
        return [future.result() for future in done]

    def close(self) -> None:
        for future in self._running:
            future.cancel()
        end_all()
        self._pool.shutdown()


class Ray:
    """Tasks of a Ray cluster, with their needs declared and spread over its nodes.

    A task whose bag is said to lie on a node prefers that node. Ray repeats a task whose worker
    dies; what fails by itself is repeated by the run, as on any engine.
    """

    name = "ray"

    def __init__(self, needs: Needs, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ConfigError("--engine ray needs Ray: pip install 'ros_xai[fleet]'") from error
        self._ray, self._needs = ray, needs
        if address:
            _check_answers(address)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                ray.init(include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
        except (ConnectionError, ValueError) as error:
            raise ConfigError(f"no Ray cluster answers at {address}: {error}") from None
        self._task = ray.remote(attempt).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory,
            max_retries=LOST_WORKERS,
            scheduling_strategy="SPREAD",
        )
        self._running: dict[Any, str] = {}

    def slots(self) -> int:
        """Grows and shrinks with the cluster; at least one, so that a task may wait for a node."""
        has = self._ray.cluster_resources()
        fits = [has.get("CPU", 0) / self._needs.cpus, has.get("memory", 0) / self._needs.memory]
        if self._needs.gpus:
            fits.append(has.get("GPU", 0) / self._needs.gpus)
        return QUEUED * max(1, int(min(fits)))

    def submit(self, task: Task, number: int) -> None:
        remote = self._task
        if node := self._node(task.node):
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            near = NodeAffinitySchedulingStrategy(node_id=node, soft=True)
            remote = remote.options(scheduling_strategy=near)
        self._running[remote.remote(task, number)] = task.key

    def wait(self) -> list[Outcome]:
        if not self._running:
            return []
        ended, _ = self._ray.wait(list(self._running), timeout=POLL_S)
        return [self._outcome(ref, self._running.pop(ref)) for ref in ended]

    def close(self) -> None:
        for ref in self._running:
            self._ray.cancel(ref, force=True)
        self._ray.shutdown()

    def _outcome(self, ref: Any, key: str) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            return Outcome(key, error=f"Ray gave the task up: {str(error).splitlines()[0]}")
        return outcome

    def _node(self, host: str) -> str | None:
        """Ray's name of the living node with this address or host name."""
        return next(self._named(host), None) if host else None

    def _named(self, host: str) -> Iterator[str]:
        for node in self._ray.nodes():
            if node["Alive"] and host in (node["NodeManagerAddress"], node["NodeManagerHostname"]):
                yield node["NodeID"]
