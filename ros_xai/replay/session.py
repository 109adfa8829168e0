"""Plays a bag into nodes of this process and records their answers.

In lock-step every message waits until the nodes have taken it and answered, and the answers are
recorded: the same bag gives the same answers on any machine, however slow. In real time the wall
clock sets the pace, as on the car.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor

from ros_xai.replay.bag import Bag, Record
from ros_xai.replay.player import CLOCK, Player, stamp_of_record
from ros_xai.replay.recorder import Arrival, Recorder
from ros_xai.world.bag_writer import BagWriter

# Topics that every node of rclpy has and that say nothing about its answers.
HOUSEKEEPING = ("/rosout", "/parameter_events")
CLOCK_PERIOD_S = 0.025  # ros2 bag play's default of 40 Hz
TF = "tf2_msgs/msg/TFMessage"  # taken by tf2, whose callbacks nobody counts
LAST_MESSAGES_S = 1.0  # what a node in real time has not taken by then was overwritten in its queue
MAX_STALLS = 3  # in a row, after which the nodes count as hanging
UNANSWERED = "answers"  # key of `Outcome.lost`: a wait for answers that ended without them


class ReplayError(RuntimeError):
    """A replay that cannot start, with what to check."""


class _Stalled(Exception):
    """The nodes hang."""


class ReplayNode(Protocol):
    """What the replay watches of a node; `ros_xai.ros.lifecycle.PerceptionNode` has it all."""

    received: Counter[str]
    published: Counter[str]
    drops: Counter[str]
    frames_in: int
    answered: int
    subscriptions: Iterator[Any]
    publishers: Iterator[Any]

    def get_name(self) -> str:
        """The node's name."""

    def idle(self) -> bool:
        """Whether nothing that could be answered now is unanswered."""

    def pending(self) -> int:
        """Frames that are neither answered nor dropped."""

    def get_clock(self) -> Any:
        """The node's ROS clock."""


@dataclass(frozen=True)
class Pace:
    """How a bag is played: in lock-step, or `rate` times as fast as it was recorded."""

    lockstep: bool = False
    rate: float = 1.0
    lost_after_s: float = 10.0  # in lock-step a message that is not taken by then is lost
    discovery_s: float = 10.0  # how long publishers and subscribers may take to find each other


class Sent(NamedTuple):
    """One message of the watched topic: its stamp, time of recording, wall clock when played."""

    stamp_ns: int | None
    log_ns: int
    wall_s: float


@dataclass
class Outcome:
    """What a replay saw: plain counts and times; why it was stopped, if it was."""

    sent: dict[str, int]
    unplayable: list[str]
    lost: dict[str, int]
    nodes: dict[str, dict[str, Any]]
    recorded: dict[str, int]
    frames: list[Sent]
    arrivals: list[Arrival]
    wall_s: float
    stopped: str


class Session:
    """One replay of `bag` into `nodes`, answers going to the bag `out`.

    `watched` is the topic whose messages are timed: the image. The nodes belong to `context` and
    use the simulated time that is played on /clock.
    """

    def __init__(
        self,
        bag: Bag,
        nodes: Sequence[ReplayNode],
        watched: str | None,
        out: Path,
        pace: Pace,
        context: rclpy.Context,
    ) -> None:
        self.bag, self.nodes, self.watched, self.pace = bag, nodes, watched, pace
        self._out, self._context = out, context
        self._clock_ns: int | None = None
        self._due: list[dict[str, int]] = []  # per node and topic it takes: messages by now
        self._lost: Counter[str] = Counter()
        self._unrecorded: Counter[str] = Counter()  # answers that were lost on their way
        self._stalls = 0  # waits in a row in which the nodes did not come to rest
        self._frames: list[Sent] = []
        self._stopped = ""

    def run(self, seen: Callable[[], None] = lambda: None) -> Outcome:
        """Play all messages; `seen` is called after each."""
        with ExitStack() as stack:
            writer = stack.enter_context(BagWriter(self._out))
            self._player = Player(self.bag.topics, self._context)
            stack.callback(self._player.destroy_node)
            outputs = [
                publisher
                for node in self.nodes
                for publisher in node.publishers
                if publisher.topic_name not in HOUSEKEEPING
            ]
            self._recorder = Recorder(outputs, writer, lambda: self._clock_ns or 0, self._context)
            stack.callback(self._recorder.destroy_node)
            stack.enter_context(spinning([*self.nodes, self._recorder], self._context))
            self._connect(outputs)
            started = time.perf_counter()
            try:
                for record in self.bag.records():
                    self._step(record)
                    seen()
            # What was recorded so far is kept and judged.
            except KeyboardInterrupt:
                self._stopped = "interrupted"
            except _Stalled as stalled:
                self._stopped = str(stalled)
            for topic in self.bag.topics:
                self._await_taken(topic, LAST_MESSAGES_S)
            self._await_answers()
            return self._outcome(time.perf_counter() - started)

    def _connect(self, outputs: Sequence[Any]) -> None:
        """Wait until all publishers and subscriptions have found each other."""
        played = {name for name, topic in self.bag.topics.items() if topic.type != TF}
        played -= set(self._player.unplayable)
        for node in self.nodes:
            topics = {subscription.topic_name for subscription in node.subscriptions} & played
            self._due.append({topic: node.received[topic] for topic in topics})
        needed = Counter(topic for topics in self._due for topic in topics)

        self._clocks = [
            clock for node in self.nodes if (clock := node.get_clock()).ros_time_is_active
        ]
        needed[CLOCK] = len(self._clocks)

        def unmatched() -> list[str]:
            unheard = [o.topic_name for o in outputs if not o.get_subscription_count()]
            return unheard + [t for t, n in needed.items() if self._player.listeners(t) < n]

        if not self._wait(lambda: not unmatched(), self.pace.discovery_s):
            raise ReplayError(
                f"nobody took up {', '.join(unmatched())} within {self.pace.discovery_s:g} s: "
                "expected subscriptions that match a reliable, volatile publisher"
            )

    def _step(self, record: Record) -> None:
        if self.pace.lockstep:
            self._set_clock(record.log_ns)
        else:
            self._sleep_until(record.log_ns)
        if record.topic == self.watched:
            self._frames.append(Sent(stamp_of_record(record), record.log_ns, time.perf_counter()))
        if self._player.play(record):
            for due in self._due:
                if record.topic in due:
                    due[record.topic] += 1
            if self.pace.lockstep:
                self._await_taken(record.topic, self.pace.lost_after_s)
                self._await_answers()

    def _set_clock(self, clock_ns: int) -> None:
        if clock_ns == self._clock_ns:
            return
        self._clock_ns = clock_ns
        self._player.tell_time(clock_ns)
        if self.pace.lockstep and not self._wait(
            lambda: all(clock.now().nanoseconds == clock_ns for clock in self._clocks),
            self.pace.lost_after_s,
        ):
            self._lost[CLOCK] += 1

    def _sleep_until(self, log_ns: int) -> None:
        """Let the clock run on, at the replay's rate, to the time of the next message."""
        if self._clock_ns is None:
            self._wall_start, self._log_start = time.perf_counter(), log_ns
        due = self._wall_start + (log_ns - self._log_start) / 1e9 / self.pace.rate
        while (left := due - time.perf_counter()) > 0:
            time.sleep(min(left, CLOCK_PERIOD_S))
            elapsed = time.perf_counter() - self._wall_start
            self._set_clock(min(self._log_start + int(elapsed * 1e9 * self.pace.rate), log_ns))
        self._set_clock(log_ns)

    def _await_taken(self, topic: str, at_most_s: float) -> None:
        """Wait until the nodes have taken all messages of a topic; count those they have not."""
        for node, due in zip(self.nodes, self._due):
            if topic in due and not self._wait(
                lambda n=node, d=due: n.received[topic] >= d[topic], at_most_s
            ):
                self._lost[topic] += due[topic] - node.received[topic]
                due[topic] = node.received[topic]

    def _await_answers(self) -> None:
        """Wait until the nodes have answered and the answers are recorded."""
        if self._wait(lambda: self._idle() and not self._missing(), self.pace.lost_after_s):
            self._stalls = 0
        elif self._idle():
            self._lost += self._missing()
            self._unrecorded += self._missing()
        else:
            self._lost[UNANSWERED] += 1
            self._stalls += 1
            if self._stalls == MAX_STALLS and not self._stopped:
                waited = self._stalls * self.pace.lost_after_s
                raise _Stalled(f"the nodes did not come to rest for {waited:g} s; see their log")

    def _idle(self) -> bool:
        return all(node.idle() for node in self.nodes)

    def _missing(self) -> Counter[str]:
        """Answers that were published and have not been recorded, by topic."""
        published = sum((Counter(node.published) for node in self.nodes), Counter())
        return published - self._recorder.received - self._unrecorded

    def _wait(self, done: Callable[[], bool], at_most_s: float) -> bool:
        deadline = time.perf_counter() + at_most_s
        pause = 1e-4
        while not done():
            if time.perf_counter() > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 2e-3)
        return True

    def _outcome(self, wall_s: float) -> Outcome:
        return Outcome(
            sent=dict(self._player.sent),
            unplayable=self._player.unplayable,
            lost=dict(self._lost),
            nodes={
                node.get_name(): {
                    "frames_in": node.frames_in,
                    "answered": node.answered,
                    "pending": node.pending(),
                    "drops": dict(node.drops),
                }
                for node in self.nodes
            },
            recorded=dict(self._recorder.received),
            frames=self._frames,
            arrivals=list(self._recorder.arrivals),
            wall_s=wall_s,
            stopped=self._stopped,
        )


@contextmanager
def spinning(nodes: Sequence[Any], context: rclpy.Context) -> Iterator[None]:
    """Serves each node's callbacks in a thread of its own, so that none waits for another's."""
    executors, threads = [], []
    for node in nodes:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        executors.append(executor)
        threads.append(threading.Thread(target=executor.spin, name=node.get_name(), daemon=True))
        threads[-1].start()
    try:
        yield
    finally:
        for executor in executors:
            executor.shutdown()
        for thread in threads:
            thread.join(2.0)
