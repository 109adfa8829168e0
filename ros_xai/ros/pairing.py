"""Pairs every trigger message with the partner nearest in time, so that none gets lost.

message_filters' synchronisers give out pairs and say nothing of what they throw away. A node that
answers every image exactly once, or says why not, has to know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
P = TypeVar("P")

_SECOND = 1_000_000_000


@dataclass(frozen=True)
class PairingTimes:
    """Nanoseconds of message stamps; no clock is read, so the same messages give the same pairs."""

    slop: int = _SECOND // 20  # a partner this near fits
    patience: int = _SECOND // 5  # how much newer triggers may get before one is given up on
    absence: int = _SECOND // 2  # partners silent for this long: triggers no longer wait
    horizon: int = _SECOND  # a partner this far ahead, or a jump back this wide, is another clock


class Pairing(Generic[T, P]):
    """Trigger and partner messages in, pairs out; a partner may serve several triggers.

    A trigger takes the nearest partner within `slop` as soon as there is one. It goes out with None
    when partners have passed it by, when triggers got `patience` newer, when partners have been
    silent for `absence`, or when a later trigger was paired (order is kept).

    Args:
        names: of the trigger and the partner, the first half of drop reasons.
        times: read at every message, so that they may change.
        drop: called with the reason of each message that is thrown away: `<trigger>.duplicate`,
            `.out_of_order`, `.queue_full`, `.clock_jump`, `<partner>.duplicate`, `.from_future`.
        capacity: how many triggers may wait, and how many partners are kept.
    """

    def __init__(
        self,
        names: tuple[str, str],
        times: Callable[[], PairingTimes],
        drop: Callable[[str], None],
        capacity: int = 10,
    ) -> None:
        self._trigger, self._partner = names
        self._times = times
        self._drop = drop
        self._capacity = capacity
        self._waiting: deque[tuple[int, T]] = deque()
        self._partners: deque[tuple[int, P]] = deque(maxlen=capacity)
        self._newest: int | None = None
        self._start: int | None = None

    def __len__(self) -> int:
        """Triggers that wait."""
        return len(self._waiting)

    def add_trigger(self, stamp: int, item: T) -> None:
        """Takes a trigger message; older ones than the newest are dropped, except after a jump."""
        if self._newest is not None and stamp <= self._newest:
            if self._newest - stamp <= self._times().horizon:
                same = stamp == self._newest
                self._drop(f"{self._trigger}.{'duplicate' if same else 'out_of_order'}")
                return
            near = [p for p in self._partners if abs(p[0] - stamp) <= self._times().horizon]
            self.reset()
            self._partners.extend(near)
        self._newest = stamp
        if self._start is None:
            self._start = stamp
        self._forget_partners_ahead_of(stamp)
        self._waiting.append((stamp, item))
        if len(self._waiting) > self._capacity:
            self._waiting.popleft()
            self._drop(f"{self._trigger}.queue_full")

    def add_partner(self, stamp: int, item: P) -> None:
        """Takes a partner message; order does not matter."""
        if any(stamp == known for known, _ in self._partners):
            self._drop(f"{self._partner}.duplicate")
            return
        self._partners.append((stamp, item))

    def take(self) -> list[tuple[T, P | None]]:
        """The triggers whose fate is decided, oldest first, each with its partner or None."""
        fates = [self._fate(stamp) for stamp, _ in self._waiting]
        decided = max((i + 1 for i, (known, _) in enumerate(fates) if known), default=0)
        return [(self._waiting.popleft()[1], fates[i][1]) for i in range(decided)]

    def expire(self, why: str) -> None:
        """Drops the triggers that waited longer than patience, as `<trigger>.<why>`."""
        while self._waiting and self._is_outrun(self._waiting[0][0]):
            self._waiting.popleft()
            self._drop(f"{self._trigger}.{why}")

    def reset(self, why: str = "clock_jump") -> None:
        """Drops what waits, as `<trigger>.<why>`, and forgets the time line with its partners."""
        for _ in self._waiting:
            self._drop(f"{self._trigger}.{why}")
        self._waiting.clear()
        self._partners.clear()
        self._newest = self._start = None

    def _fate(self, stamp: int) -> tuple[bool, P | None]:
        """Whether the trigger's fate is decided, and its partner."""
        times = self._times()
        fitting = [
            (abs(s - stamp), item) for s, item in self._partners if abs(s - stamp) <= times.slop
        ]
        if fitting:
            return True, min(fitting, key=lambda pair: pair[0])[1]
        passed = any(times.slop < s - stamp <= times.horizon for s, _ in self._partners)
        outrun = self._is_outrun(stamp)
        return passed or outrun or self._is_silent(stamp), None

    def _is_outrun(self, stamp: int) -> bool:
        return self._newest is not None and self._newest - stamp > self._times().patience

    def _is_silent(self, stamp: int) -> bool:
        """Whether no partner came in `absence` before the trigger; the start counts as one."""
        heard = [s for s, _ in self._partners if s <= stamp]
        start = [] if self._start is None else [self._start]
        return stamp - max(heard + start, default=stamp) > self._times().absence

    def _forget_partners_ahead_of(self, stamp: int) -> None:
        """A partner from the future would never be used, and be kept for ever."""
        kept = [p for p in self._partners if p[0] - stamp <= self._times().horizon]
        for _ in range(len(self._partners) - len(kept)):
            self._drop(f"{self._partner}.from_future")
        self._partners = deque(kept, maxlen=self._capacity)
