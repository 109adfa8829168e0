"""Time synchronisation, as the distribution's message_filters.

One difference: a full queue drops what came first, not what is stamped first. So a clock that jumps
back (a bag played in a loop) and a stamp from the future cannot block a queue.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any


class SimpleFilter:
    """Passes what it is given to its callbacks."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Calls `cb(*messages, *args)` from now on; returns the number of the connection."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        for callback, args in self.callbacks.values():
            callback(*msg, *args)


class Subscriber(SimpleFilter):
    """A subscription `Subscriber(node, message_type, topic, qos_profile=10, ...)` as a filter."""

    def __init__(self, node: Any, message_type: Any, topic: str, **kwargs: Any) -> None:
        super().__init__()
        self.topic = topic
        kwargs.setdefault("qos_profile", 10)
        self.sub = node.create_subscription(message_type, topic, self.signalMessage, **kwargs)

    def getTopic(self) -> str:
        return self.topic


class TimeSynchronizer(SimpleFilter):
    """Calls back with one message of every input, all of the same stamp.

    A message with the stamp of one that still waits takes its place.
    """

    def __init__(self, fs: Sequence[Any], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.queues: list[dict[int, Any]] = [{} for _ in fs]  # stamp in ns -> message, by arrival
        self._lock = threading.Lock()
        for index, source in enumerate(fs):
            source.registerCallback(self._add, index)

    def _add(self, message: Any, index: int) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        with self._lock:
            queue = self.queues[index]
            queue.pop(stamp, None)
            queue[stamp] = message
            if len(queue) > self.queue_size:
                del queue[next(iter(queue))]
            stamps = self._match(stamp, index)
            messages = [queue.pop(stamp) for queue, stamp in zip(self.queues, stamps)]
        if messages:
            self.signalMessage(*messages)

    def _match(self, stamp: int, index: int) -> tuple[int, ...]:
        """The stamps that now match, one per queue; none when something is missing."""
        complete = all(stamp in queue for queue in self.queues)
        return (stamp,) * len(self.queues) if complete else ()


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Calls back with one message of every input, stamped within less than `slop` seconds.

    Of several the nearest to the message that came last are taken.
    """

    def __init__(self, fs: Sequence[Any], queue_size: int, slop: float) -> None:
        super().__init__(fs, queue_size)
        self.slop = round(slop * 1e9)

    def _match(self, stamp: int, index: int) -> tuple[int, ...]:
        def distance(other: int) -> int:
            return abs(other - stamp)

        near = [
            [stamp]
            if i == index
            else sorted((s for s in queue if distance(s) < self.slop), key=distance)
            for i, queue in enumerate(self.queues)
        ]
        for stamps in itertools.product(*near):
            if max(stamps) - min(stamps) < self.slop:
                return stamps
        return ()
