"""One thread that works on the newest item."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
    """Runs `handle(item)` in a thread of its own, behind a mailbox with one slot.

    An item that comes while another waits takes its place, so the age of what is worked on stays
    bounded however fast items come. Whatever `handle` raises goes to `failed(item, error)`, and the
    thread goes on with the next item.
    """

    def __init__(
        self, handle: Callable[[T], None], failed: Callable[[T, Exception], None], name: str
    ) -> None:
        self._handle = handle
        self._failed = failed
        self._changed = threading.Condition()
        self._slot: list[T] = []  # at most one; a list, so that any item may be None
        self._busy = False
        self._stopping = False
        # A daemon, so that a handler that never returns cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T) -> list[T]:
        """Leaves `item` in the mailbox and returns what it replaces: nothing, or one older item.

        After `stop` the item itself comes back.
        """
        with self._changed:
            if self._stopping:
                return [item]
            superseded, self._slot = self._slot, [item]
            self._changed.notify_all()
            return superseded

    def pending(self) -> int:
        """Items in the mailbox and in work: 0, 1 or 2."""
        with self._changed:
            return len(self._slot) + self._busy

    def idle(self) -> bool:
        """Whether the mailbox is empty and no item is in work."""
        return self.pending() == 0

    def stop(self, timeout: float) -> tuple[bool, list[T]]:
        """Waits at most `timeout` seconds for the item in work, and starts no other.

        Returns whether the thread has ended, and the item that was left in the mailbox, if any.
        """
        with self._changed:
            self._stopping = True
            left, self._slot = self._slot, []
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return not self._thread.is_alive(), left

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot or self._stopping)
                if self._stopping:
                    return
                (item,) = self._slot
                self._slot = []
                self._busy = True
            try:
                self._handle(item)
            except Exception as error:
                self._failed(item, error)
            finally:
                del item  # a waiting thread must not keep the last frame in memory
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
