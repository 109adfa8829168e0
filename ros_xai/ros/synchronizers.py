"""Matching of the inputs of a node by their stamps."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ros_xai.ros.compat import message_filters


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time as nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


class Synchronizer:
    """Calls back with one message of every input, stamped within `slop` seconds (0: equal stamps).

    Wraps message_filters, the distribution's or ours, so that it survives what they do not:
    messages are handed over by `add`, from raw subscriptions or from a bag; when an input's stamps
    jump back by more than `jump` seconds (a bag that starts again, after a stamp from the future)
    what waits of it is forgotten; the callback runs outside of all locks and may raise.

    Attributes:
        received: messages added so far, per input.
        matched: sets called back so far.
        jumps: times the stamps of an input jumped back.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        callback: Callable[..., None],
        queue_size: int = 10,
        slop: float = 0.05,
        jump: float = 1.0,
    ) -> None:
        self.received = Counter(dict.fromkeys(inputs, 0))
        self.matched = 0
        self.jumps = 0
        self._callback = callback
        self._jump = round(jump * 1e9)
        self._lock = threading.Lock()
        self._newest: dict[str, int] = {}
        self._ready: list[tuple[Any, ...]] = []
        self._filters = {name: message_filters.SimpleFilter() for name in inputs}
        filters = list(self._filters.values())
        if slop > 0:
            matcher = message_filters.ApproximateTimeSynchronizer(filters, queue_size, slop)
        else:
            matcher = message_filters.TimeSynchronizer(filters, queue_size)
        matcher.registerCallback(lambda *messages: self._ready.append(messages))
        self._queues = dict(zip(inputs, matcher.queues))

    def add(self, name: str, message: Any) -> None:
        """Takes a message with a header; calls back with every set it completes.

        Raises:
            KeyError: `name` is none of the inputs.
        """
        stamp = nanoseconds(message.header.stamp)
        with self._lock:
            newest = self._newest.get(name, stamp)
            if stamp < newest - self._jump:
                self.jumps += 1
                self._queues[name].clear()
                newest = stamp
            self._newest[name] = max(stamp, newest)
            self._filters[name].signalMessage(message)
            self.received[name] += 1
            ready, self._ready = self._ready, []
            self.matched += len(ready)
        for messages in ready:
            self._callback(*messages)

    def unmatched(self, name: str) -> int:
        """Messages of an input without a set so far: dropped, or among the last `queue_size`."""
        return self.received[name] - self.matched
