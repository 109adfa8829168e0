"""What is in a bag and what is wrong with it, counted per topic and never fatal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.replay.bag import Bag, DecodeError

Times = NDArray[np.int64]

STALE_AFTER_NS = 500_000_000
PERIODIC_SPREAD = 0.25  # the intervals of a periodic topic differ less, relative to their median
LEAST_MESSAGES = 5  # fewer show no period


@dataclass(frozen=True)
class TopicScan:
    """Counts of one topic; `missing` is None where the topic has no period."""

    topic: str
    type: str
    messages: int
    rate_hz: float | None
    longest_gap_s: float | None
    missing: int | None
    corrupt: int
    duplicate: int
    out_of_order: int
    stale: int

    @property
    def problems(self) -> dict[str, int]:
        """The findings that are not zero, by name."""
        names = ("missing", "corrupt", "duplicate", "out_of_order", "stale")
        return {name: count for name in names if (count := getattr(self, name))}


@dataclass(frozen=True)
class Scan:
    """A whole bag: times in seconds, damages and what is foreign to ROS 2 as sentences."""

    sha256: str
    start_s: float
    duration_s: float
    messages: int
    topics: tuple[TopicScan, ...]
    damages: tuple[str, ...]
    foreign: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def scan(bag: Bag, seen: Callable[[], None] = lambda: None) -> Scan:
    """Read the bag once, decoding every message; `seen` is called after each."""
    log: dict[str, list[int]] = {name: [] for name in bag.topics}
    stamped: dict[str, list[tuple[int, int]]] = {name: [] for name in bag.topics}
    corrupt = dict.fromkeys(bag.topics, 0)
    for record in bag.records():
        log[record.topic].append(record.log_ns)
        try:
            stamp_ns = header_stamp(bag.decode(record))
            if stamp_ns:
                stamped[record.topic].append((record.log_ns, stamp_ns))
        except DecodeError:
            corrupt[record.topic] += 1
        seen()
    every = [time for times in log.values() for time in times]
    return Scan(
        sha256=bag.sha256(),
        start_s=min(every, default=0) / 1e9,
        duration_s=(max(every, default=0) - min(every, default=0)) / 1e9,
        messages=len(every),
        topics=tuple(
            _topic_scan(name, topic.type, log[name], stamped[name], corrupt[name])
            for name, topic in bag.topics.items()
        ),
        damages=tuple(bag.damages),
        foreign=tuple(bag.foreign),
    )


def header_stamp(message: Any) -> int | None:
    """Nanoseconds of the header's stamp; None without a header or with an unset stamp."""
    header = getattr(message, "header", None)
    if header is None:
        return None
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec or None


def _topic_scan(
    name: str, type_name: str, log: list[int], stamped: list[tuple[int, int]], corrupt: int
) -> TopicScan:
    log_ns, stamps = np.array(stamped, dtype=np.int64).reshape(-1, 2).T
    # A corrupt message has a time of recording but no stamp: it is corrupt, not missing.
    times = stamps if len(stamped) == len(log) else np.array(log, dtype=np.int64)
    intervals = np.diff(np.unique(times))
    return TopicScan(
        topic=name,
        type=type_name,
        messages=len(log),
        rate_hz=1e9 / float(np.median(intervals)) if intervals.size else None,
        longest_gap_s=float(intervals.max() / 1e9) if intervals.size else None,
        missing=missing(times),
        corrupt=corrupt,
        duplicate=duplicates(stamps),
        out_of_order=out_of_order(stamps),
        stale=stale(stamps, log_ns),
    )


def missing(times: Times) -> int | None:
    """Messages that a periodic topic lacks, from its times [N] ns; None without a period.

    An interval of k periods lacks k - 1 messages.
    """
    intervals = np.diff(np.unique(times))
    if intervals.size < LEAST_MESSAGES - 1:
        return None
    period = np.median(intervals)
    if np.median(np.abs(intervals - period)) > PERIODIC_SPREAD * period:
        return None
    return int(np.sum(np.maximum(np.rint(intervals / period) - 1, 0)))


def duplicates(stamps: Times) -> int:
    """Messages whose stamp [N] ns an earlier message of the topic had."""
    return int(stamps.size - np.unique(stamps).size)


def out_of_order(stamps: Times) -> int:
    """Messages whose stamp [N] ns is new, yet older than one recorded before."""
    _, first = np.unique(stamps, return_index=True)
    fresh = stamps[np.sort(first)]
    return int(np.sum(fresh < np.maximum.accumulate(fresh))) if fresh.size else 0


def stale(stamps: Times, log_ns: Times, after_ns: int = STALE_AFTER_NS) -> int:
    """Messages recorded more than `after_ns` later after their stamp than is usual for the topic.

    Against the topic's median delay, so that a sensor with a clock of its own is not all stale.
    """
    delay = log_ns - stamps
    return int(np.sum(delay - np.median(delay) > after_ns)) if delay.size else 0
