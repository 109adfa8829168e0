"""The way of a frame through a node: bytes, message, mailbox, work, end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ros_xai.ros.diagnostics import SUPERSEDED, WAIT, Monitor, Stages
from ros_xai.ros.errors import MessageError
from ros_xai.ros.sharing import SHARED
from ros_xai.ros.worker import Worker

P = TypeVar("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Arrival:
    """A decoded message; `at` is `time.perf_counter()` when its bytes came.

    What the callback does to check and convert it is timed as the stage `decode` of `stages`.
    """

    message: Any
    at: float
    stages: Stages

    def converted(self, convert: Callable[[Any], T]) -> T:
        """`convert(message)`, done once for all nodes of the process; not to be written to."""
        return SHARED.converted(self.message, convert)


@dataclass(frozen=True)
class Frame(Generic[P]):
    """What the worker works on: the trigger message's header, and what the node needs of it."""

    header: Any
    payload: P
    arrived: float
    stages: Stages


class Pipeline(Generic[P]):
    """Takes bytes from the executor's threads and works on the newest frame in its own.

    Every trigger message ends exactly once: when nothing is in flight,
    `monitor.frames_in == monitor.answered + monitor.frame_drops() + pending()` + those that the
    node itself keeps waiting for partners.

    Args:
        trigger: name of the input that is to be answered.
        process: answers a frame; a MessageError drops it as `<trigger>.<reason>`.
        monitor: counts.
        log: takes the text of each drop that has one.
    """

    def __init__(
        self,
        trigger: str,
        process: Callable[[Frame[P]], None],
        monitor: Monitor,
        log: Callable[[str], None],
    ) -> None:
        self._trigger = trigger
        self._process = process
        self._monitor = monitor
        self._log = log
        self._worker: Worker[Frame[P]] | None = None

    def start(self) -> None:
        """Starts the worker's thread."""
        self._worker = Worker(self._work, self._failed, name=f"{self._trigger} worker")

    def stop(self, timeout: float) -> bool:
        """Drops what waits; returns whether the frame in work ended within `timeout` seconds."""
        worker, self._worker = self._worker, None
        if worker is None:
            return True
        ended, left = worker.stop(timeout)
        for _ in left:
            self.drop(self._trigger, "inactive")
        return ended

    def receive(
        self,
        data: bytes,
        message_type: type[Any],
        topic: str,
        name: str,
        callback: Callable[[Arrival], None],
    ) -> None:
        """Decodes one message of the input `name` and calls back; what fails is a counted drop."""
        at = time.perf_counter()
        if name == self._trigger:
            self._monitor.frame_in()
        try:
            stages = Stages()
            with stages("decode"):
                message = SHARED.message(data, message_type, topic)
            callback(Arrival(message, at, stages))
        except Exception as error:
            # Let through, it would end the executor, and with it every node of the process.
            self._drop_for(name, error)
        finally:
            self._monitor.callback_done(topic)

    def submit(self, arrival: Arrival, payload: P) -> None:
        """Hands over a trigger message that has all it needs; one that waits is superseded."""
        frame = Frame(arrival.message.header, payload, arrival.at, arrival.stages)
        worker = self._worker
        if worker is None:
            self.drop(self._trigger, "inactive")
            return
        for _ in worker.submit(frame):
            self.drop(self._trigger, SUPERSEDED)

    def drop(self, name: str, why: str, text: str = "") -> None:
        """Counts a message of the input `name` as dropped, and logs the text when there is one."""
        self._monitor.drop(f"{name}.{why}", text)
        if text:
            self._log(f"{name}.{why}: {text}")

    def pass_over(self, name: str) -> None:
        """Ends a message with which nothing is wrong; a trigger's is counted as if superseded."""
        if name == self._trigger:
            self.drop(name, SUPERSEDED)

    def pending(self) -> int:
        """Frames in the mailbox and in work."""
        worker = self._worker
        return 0 if worker is None else worker.pending()

    def _work(self, frame: Frame[P]) -> None:
        stages = frame.stages
        age_ms = 1e3 * (time.perf_counter() - frame.arrived)
        stages.ms[WAIT] = max(age_ms - stages.ms["decode"], 0.0)
        with self._monitor.working():
            self._process(frame)
        self._monitor.finish(stages.ms)

    def _failed(self, frame: Frame[P], error: Exception) -> None:
        self._drop_for(self._trigger, error)

    def _drop_for(self, name: str, error: Exception) -> None:
        if isinstance(error, MessageError):
            self.drop(name, error.reason, str(error))
        else:
            self.drop(name, "internal_error", f"{type(error).__name__}: {error}")
