"""What several nodes of one process make of the same message, made once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ros_xai.ros.cdr import decode

T = TypeVar("T")

# Below, decoding costs no more than looking it up.
_SMALLEST = 16 * 1024


@dataclass
class _Entry:
    data: bytes
    message: Any
    converted: dict[Callable[[Any], Any], Any] = field(default_factory=dict)


class SharedDecoding:
    """Keeps the newest messages of each topic, so that equal bytes are decoded once. Thread-safe.

    Every subscription of a process gets bytes of its own; those of one message are equal, and
    messages that differ do so within their first bytes, where the stamp is: to compare them costs
    a hundredth of decoding them and is never wrong. What is shared must not be written to.

    Attributes:
        made: messages decoded and conversions done.
        saved: messages and conversions found instead.
    """

    def __init__(self, keep: int = 3) -> None:
        self.made = 0
        self.saved = 0
        self._keep = keep
        self._lock = threading.RLock()
        self._topics: dict[tuple[str, type[Any]], deque[_Entry]] = {}

    def message(self, data: bytes, message_type: type[T], topic: str) -> T:
        """The message of the bytes; raises MessageError as `cdr.decode` does."""
        if len(data) < _SMALLEST:
            return decode(data, message_type)
        with self._lock:
            entries = self._topics.setdefault((topic, message_type), deque(maxlen=self._keep))
            for entry in entries:
                if entry.data == data:
                    self.saved += 1
                    found: T = entry.message
                    return found
            message = decode(data, message_type)
            self.made += 1
            entries.append(_Entry(data, message))
            return message

    def converted(self, message: Any, convert: Callable[[Any], T]) -> T:
        """`convert(message)`; arrays among the shared results cannot be written to.

        What `convert` raises is raised for every caller.
        """
        with self._lock:
            entry = self._entry(message)
            if entry is None:
                return convert(message)
            if convert in entry.converted:
                self.saved += 1
                found: T = entry.converted[convert]
                return found
            result = convert(message)
            if isinstance(result, np.ndarray):
                result.setflags(write=False)
            self.made += 1
            entry.converted[convert] = result
            return result

    def _entry(self, message: Any) -> _Entry | None:
        for entries in self._topics.values():
            for entry in entries:
                if entry.message is message:
                    return entry
        return None


# Nodes of one process share it, whichever executor serves them.
SHARED = SharedDecoding()
