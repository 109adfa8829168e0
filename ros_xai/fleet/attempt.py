"""One attempt at a task: the child process, its scratch folder, its ROS domain, and its end."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ros_xai.fleet.tables import SCHEMAS, encode
from ros_xai.fleet.tasks import Task
from ros_xai.replay.results import read_json

DOMAINS = range(1, 102)  # those above reach into Linux's ephemeral ports
SPARE_BYTES = 64 << 20
SCRATCH_SHARE = 3  # answers are at most about so many times the bag: dense depth from few beams
LOG_CHARACTERS = 20_000
PARENT = "ROS_XAI_PARENT"

_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """The parts of a finished task by table, or no parts and what went wrong; never an exception,
    so that engines need not carry one."""

    key: str
    parts: dict[str, bytes] = field(default_factory=dict)
    error: str = ""
    log: str = ""


def attempt(task: Task, number: int) -> Outcome:
    """Do the task in a child process; `number` counts attempts from 1."""
    try:
        with claimed_domain() as domain, tempfile.TemporaryDirectory(prefix="ros_xai-") as folder:
            return _attempt(task, number, domain, Path(folder))
    except OSError as error:
        return Outcome(task.key, error=f"{platform.node()}: {error}")


def end_all() -> None:
    """Kill the children that still run, and whatever they started."""
    with _lock:
        for process in _running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _attempt(task: Task, number: int, domain: int, folder: Path) -> Outcome:
    _check_disk(task, folder)
    description = {
        "bag_path": str(task.bag_path),
        "topics": dict(task.topics),
        "config": task.candidate.text,
        "launched": time.time(),
    }
    (folder / "task.json").write_text(json.dumps(description))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ros_xai.fleet.child", str(folder)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(task, domain),
            start_new_session=True,  # Ctrl-C is for the command, which then ends its children
        )
        with _lock:
            _running.add(process)
        try:
            code = process.wait(task.needs.timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
        finally:
            with _lock:
                _running.discard(process)
    text = log.read_text(errors="replace")[-LOG_CHARACTERS:]
    if code is None:
        return Outcome(task.key, error=f"no end within {task.needs.timeout_s:g} s", log=text)
    if code:
        last = text.strip().splitlines()[-1:] or ["it said nothing"]
        return Outcome(task.key, error=f"ended with code {code}: {last[0]}", log=text)
    return Outcome(task.key, _parts(task, number, read_json(folder / "tables.json")), log=text)


def _parts(task: Task, number: int, tables: dict[str, list[dict[str, Any]]]) -> dict[str, bytes]:
    identity = {
        "key": task.key,
        "bag": task.bag,
        "config": task.candidate.name,
        "bag_sha256": task.bag_sha256,
        "config_sha256": task.candidate.sha256,
        "version": task.version,
    }
    tables["timings"][0] |= {
        "host": platform.node(),
        "finished": datetime.datetime.now(datetime.timezone.utc),
        "attempt": number,
        "cpus": task.needs.cpus,
    }
    parts = {}
    for table in sorted(SCHEMAS, key=lambda name: name == "timings"):
        if table == "timings":
            tables[table][0]["row_bytes"] = sum(map(len, parts.values()))
        parts[table] = encode(table, [identity | row for row in tables[table]])
    return parts


def _environment(task: Task, domain: int) -> dict[str, str]:
    threads = str(task.needs.cpus)
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain),
        "OMP_NUM_THREADS": threads,  # as many threads everywhere: sums depend on it
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        PARENT: str(os.getpid()),
    }


def _check_disk(task: Task, folder: Path) -> None:
    """Refuse to start what would fill the disk.

    Raises:
        OSError: too little space.
    """
    files = task.bag_path.iterdir() if task.bag_path.is_dir() else [task.bag_path]
    size = sum(path.stat().st_size for path in files if path.is_file())
    needed, free = SCRATCH_SHARE * size + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{folder.parent} has {free / 1e6:.0f} MB left, {task.bag} may need "
            f"{needed / 1e6:.0f} MB: free some, or point TMPDIR at a larger disk"
        )


@contextlib.contextmanager
def claimed_domain() -> Iterator[int]:
    """A ROS domain that no other task on this machine has while the block runs."""
    folder = Path(tempfile.gettempdir()) / f"ros_xai-domains-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        for domain in DOMAINS:
            with (folder / str(domain)).open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield domain
                return
        time.sleep(0.1)
