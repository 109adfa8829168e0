"""What a node tells about itself: counts, rate, latency, health."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

SUPERSEDED = "superseded"
WAIT = "wait"  # the stage before work begins: for partners, and in the mailbox
_RATE_WINDOW_S = 10.0

_LEVELS = {
    "ok": DiagnosticStatus.OK,
    "warn": DiagnosticStatus.WARN,
    "error": DiagnosticStatus.ERROR,
    "stale": DiagnosticStatus.STALE,
}
# Which of several findings gives the status its level: a fault outranks silence.
_GRAVITY = ("ok", "warn", "stale", "error")


class Finding(NamedTuple):
    """One statement about the node's health; level is ok, warn, stale or error."""

    level: str
    text: str


@dataclass(frozen=True)
class Limits:
    """When a node is unwell. The defaults suit a 10 Hz camera."""

    tolerance_ms: float = 100.0  # one frame slower than this: warn
    error_after_s: float = 2.0  # slower without a break for this long: error
    stale_after_s: float = 2.0  # no input for this long: stale


@dataclass
class Stages:
    """Milliseconds that one frame spent in each stage, in order."""

    ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds the time of the block to stage `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + 1e3 * (time.perf_counter() - started)


class Monitor:
    """Counts what becomes of the frames and judges the node's health. Thread-safe.

    A frame is one message of the input `trigger`, and ends exactly once: answered, or dropped with
    a reason `<trigger>.<why>`. Drops of other inputs are named after those inputs. Times are of
    `now`, a wall clock in seconds, so that a node whose ROS clock or thread stands still is judged.
    """

    def __init__(
        self,
        trigger: str,
        limits: Callable[[], Limits],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._trigger = trigger
        self._now = now
        self._lock = threading.RLock()
        self.frames_in = 0
        self.answered = 0
        self.drops: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.last_error = ""
        self._finished: deque[tuple[float, float]] = deque(maxlen=1000)  # (time, total ms)
        self._stages: dict[str, float] = {}
        self._last_input: float | None = None
        self._begun: float | None = None
        self._slow: tuple[float, float] | None = None  # first begin and last end of slow frames
        self._slowest_since_report = 0.0
        self._reported_drops: Counter[str] = Counter()

    def frame_in(self) -> None:
        """A trigger message has come, good or bad."""
        with self._lock:
            self.frames_in += 1
            self._last_input = self._now()

    def callback_done(self, topic: str) -> None:
        """The callback of one message of the resolved `topic` has returned."""
        with self._lock:
            self.received[topic] += 1

    def message_out(self, topic: str) -> None:
        """One message was published on the resolved `topic`."""
        with self._lock:
            self.published[topic] += 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Marks a frame as in work for the block, so that one that hangs is noticed."""
        with self._lock:
            self._begun = self._now()
        try:
            yield
        finally:
            with self._lock:
                self._begun = None

    def finish(self, stages_ms: Mapping[str, float]) -> None:
        """A frame is answered. All stages make its latency, all but `wait` its cycle."""
        with self._lock:
            now = self._now()
            cycle_ms = sum(ms for stage, ms in stages_ms.items() if stage != WAIT)
            self.answered += 1
            self._stages = dict(stages_ms)
            self._finished.append((now, sum(stages_ms.values())))
            self._slowest_since_report = max(self._slowest_since_report, cycle_ms)
            if cycle_ms <= self._limits().tolerance_ms:
                self._slow = None
            else:
                start = now - cycle_ms / 1e3 if self._slow is None else self._slow[0]
                self._slow = (start, now)

    def drop(self, reason: str, text: str = "") -> None:
        """A message is dropped; `text`, when given, becomes the last error."""
        with self._lock:
            self.drops[reason] += 1
            if text:
                self.last_error = f"{reason}: {text}"

    def note(self, what: str, number: int) -> None:
        """Counts something worth knowing that costs no message, such as points without a return."""
        with self._lock:
            self.notes[what] += number

    def frame_drops(self) -> int:
        """Trigger messages dropped so far, whatever the reason."""
        with self._lock:
            return sum(n for reason, n in self.drops.items() if self._of_trigger(reason))

    def latency_ms(self) -> tuple[float, float] | None:
        """Median and 99th percentile of the total latency, last 1,000 frames; None before any."""
        with self._lock:
            if not self._finished:
                return None
            p50, p99 = np.percentile([total for _, total in self._finished], (50, 99))
            return float(p50), float(p99)

    def findings(self) -> list[Finding]:
        """What is noteworthy since the last call. Drops by newest-wins are intended: no finding."""
        with self._lock:
            found = [*self._input_findings(), *self._speed_findings()]
            new = self.drops - self._reported_drops
            del new[f"{self._trigger}.{SUPERSEDED}"]
            if new:
                listed = ", ".join(f"{reason} {n}" for reason, n in sorted(new.items()))
                found.append(Finding("warn", f"dropped {listed}"))
            self._reported_drops = self.drops.copy()
            self._slowest_since_report = 0.0
            return found

    def values(self) -> dict[str, str]:
        """The figures of a status message; "waiting" where there is none yet."""
        with self._lock:
            now = self._now()
            recent = [t for t, _ in self._finished if now - t <= _RATE_WINDOW_S]
            rate = (len(recent) - 1) / max(now - recent[0], 1e-3) if len(recent) > 1 else None
            latency = self.latency_ms() or (None, None)
            values = {
                "rate_hz": _shown(rate),
                "latency_ms.p50": _shown(latency[0]),
                "latency_ms.p99": _shown(latency[1]),
                "frames_in": str(self.frames_in),
                "frames_out": str(self.answered),
            }
            values |= {f"stage_ms.{name}": _shown(ms) for name, ms in self._stages.items()}
            values |= {f"drops.{reason}": str(n) for reason, n in sorted(self.drops.items())}
            values |= {f"notes.{what}": str(n) for what, n in sorted(self.notes.items())}
            values["last_error"] = self.last_error or "none"
            return values

    def _of_trigger(self, reason: str) -> bool:
        return reason.startswith(f"{self._trigger}.")

    def _input_findings(self) -> Iterator[Finding]:
        if self._last_input is None:
            yield Finding("stale", f"waiting for the first {self._trigger}")
            return
        if not self.answered:
            # The newest is not superseded: where all are, the node passes them over on purpose.
            on_purpose = self.frames_in == self.drops[f"{self._trigger}.{SUPERSEDED}"]
            yield (
                Finding("ok", "waiting to be asked")
                if on_purpose
                else Finding("warn", "waiting for the first result")
            )
        silent = self._now() - self._last_input
        if silent > self._limits().stale_after_s:
            yield Finding("stale", f"no {self._trigger} for {silent:.1f} s")

    def _speed_findings(self) -> Iterator[Finding]:
        now, limits = self._now(), self._limits()
        in_work = 0.0 if self._begun is None else now - self._begun
        hanging = in_work * 1e3 > limits.tolerance_ms
        since, until = self._slow or (now - in_work, now)
        slow_for = (now if hanging else until) - since if self._slow or hanging else 0.0
        if slow_for > limits.error_after_s:
            yield Finding(
                "error", f"over {limits.tolerance_ms:.0f} ms per frame for {slow_for:.1f} s"
            )
        elif hanging:
            yield Finding("warn", f"a frame is in work for {in_work:.1f} s")
        elif self._slowest_since_report > limits.tolerance_ms:
            slowest = self._slowest_since_report
            yield Finding("warn", f"a frame took {slowest:.0f} ms of {limits.tolerance_ms:.0f} ms")


def to_status(
    name: str, findings: Iterable[Finding], values: Mapping[str, str], hardware_id: str = ""
) -> DiagnosticStatus:
    """A DiagnosticStatus with the gravest finding's level and all findings' texts."""
    found = list(findings) or [Finding("ok", "running")]
    gravest = max(found, key=lambda finding: _GRAVITY.index(finding.level))
    return DiagnosticStatus(
        level=_LEVELS[gravest.level],
        name=name,
        message="; ".join(finding.text for finding in found),
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def to_latency(name: str, header: Any, stages_ms: Mapping[str, float]) -> DiagnosticArray:
    """The stages of one frame, milliseconds, under that frame's header."""
    values = [KeyValue(key=stage, value=f"{ms:.3f}") for stage, ms in stages_ms.items()]
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=name, message="ms", values=values)
    return DiagnosticArray(header=header, status=[status])


def _shown(figure: float | None) -> str:
    return "waiting" if figure is None else f"{figure:.2f}"
