"""Child processes that are started together, started again when they die, and stopped together."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_STOP_S = 5.0  # a node stops within 2 s; what takes longer hangs
_POLL_S = 0.1


@dataclass
class _Child:
    command: Sequence[str]
    process: subprocess.Popen[bytes]
    again_at: float | None = None  # when a dead one is started again


def supervise(
    commands: Mapping[str, Sequence[str]],
    respawn: bool,
    delay_s: float = 1.0,
    say: Callable[[str], None] = print,
) -> int:
    """Runs the commands until SIGINT or SIGTERM, or until all have ended.

    respawn: a process that ends is started again after `delay_s`, save one that ends with code 2:
    its arguments are wrong and stay so.

    Returns 0 after a signal, else the largest exit code (1 for a process that a signal ended).
    """
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda number, frame: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    children: dict[str, _Child] = {}
    try:
        for name, command in commands.items():
            children[name] = _Child(command, _start(name, command, say))
        code = 0
        while children and not stop.wait(_POLL_S):
            for name, child in list(children.items()):
                ended = child.process.poll()
                if ended is None:
                    continue
                if not respawn or ended == 2:
                    say(f"{name} ended with code {ended}")
                    code = max(code, ended if ended >= 0 else 1)
                    del children[name]
                elif child.again_at is None:
                    say(f"{name} ended with code {ended}; starting it again in {delay_s:g} s")
                    child.again_at = time.monotonic() + delay_s
                elif time.monotonic() >= child.again_at:
                    children[name] = _Child(child.command, _start(name, child.command, say))
        return 0 if stop.is_set() else code
    finally:
        _end([child.process for child in children.values()])
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(
    name: str, command: Sequence[str], say: Callable[[str], None]
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C of a terminal comes through us, once.
    process = subprocess.Popen(command, start_new_session=True)
    say(f"{name} started as process {process.pid}")
    return process


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
