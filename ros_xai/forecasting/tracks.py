"""From messages that come when they come to the regular histories that are forecast from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import FINE, HISTORY, RECENT, STEP, Tracks

Array = NDArray[np.float64]

SPAN = (HISTORY - 1) * STEP  # s of history that a forecast is made from
_TOLERANCE = 1e-3  # s that a history may be short of and counts as whole
_TIMES = np.concatenate([STEP * np.arange(1 - HISTORY, 1), FINE * np.arange(1 - RECENT, 1)])


@dataclass(frozen=True)
class Observations:
    """A agents at one instant: id and category [A]; xy [A,2] m and yaw [A] rad in one frame."""

    id: NDArray[np.str_]
    category: NDArray[np.str_]
    xy: Array
    yaw: Array


@dataclass(frozen=True)
class BufferConfig:
    """max_gap: a track not seen for longer (s) begins anew; max_speed: one that would have moved
    faster (m/s), beyond `jitter` metres, was given another agent's id and begins anew."""

    max_gap: float = 1.0
    max_speed: float = 60.0
    jitter: float = 2.0


def resampled(time: Array, xy: Array, yaw: Array, at: Array) -> tuple[Array, Array]:
    """Positions [M,2] and headings [M] at the times `at` [M], linearly between the samples at
    `time` [N] (s, increasing); NaN before the first and after the last."""
    inside = (at >= time[0] - _TOLERANCE) & (at <= time[-1] + _TOLERANCE)
    turned = np.interp(at, time, np.unwrap(yaw))
    places = np.stack([np.interp(at, time, xy[:, axis]) for axis in range(2)], axis=-1)
    wrapped = np.arctan2(np.sin(turned), np.cos(turned))
    return np.where(inside[:, None], places, np.nan), np.where(inside, wrapped, np.nan)


@dataclass
class _Track:
    category: str
    stamps: list[int] = field(default_factory=list)  # ns
    poses: list[tuple[float, float, float]] = field(default_factory=list)  # x, y, yaw

    def add(self, stamp_ns: int, pose: tuple[float, float, float]) -> None:
        self.stamps.append(stamp_ns)
        self.poses.append(pose)
        # One older sample stays, to interpolate the oldest instant.
        while len(self.stamps) > 2 and stamp_ns - self.stamps[1] >= SPAN * 1e9:
            del self.stamps[0], self.poses[0]


class TrackBuffers:
    """The last two seconds of every track, by id.

    A track that is lost for longer than `max_gap`, that jumps, or whose category changes between
    vehicle, two-wheeler, pedestrian and trailer begins anew: its old past is not the agent's.
    """

    def __init__(self, config: BufferConfig | None = None) -> None:
        self.config = config or BufferConfig()
        self.stamp_ns: int | None = None
        self._tracks: dict[str, _Track] = {}
        self._present: list[str] = []

    def __len__(self) -> int:
        return len(self._tracks)

    def clear(self) -> None:
        """Forget everything, as when time begins anew."""
        self.stamp_ns, self._tracks, self._present = None, {}, []

    def observe(self, stamp_ns: int, seen: Observations) -> Counter[str]:
        """Add the agents seen at one instant, later than all before; counts of what was amiss:
        `reappeared`, `id_switch`, `category_change`, and `duplicate_id`, of which the first counts.

        Raises ValueError for a stamp that is not later.
        """
        if self.stamp_ns is not None and stamp_ns <= self.stamp_ns:
            raise ValueError(f"expected a stamp after {self.stamp_ns} ns; got {stamp_ns}")
        self.stamp_ns = stamp_ns
        amiss: Counter[str] = Counter()
        present: dict[str, None] = {}
        rows = zip(seen.id.tolist(), seen.category.tolist(), seen.xy.tolist(), seen.yaw.tolist())
        for name, category, (x, y), yaw in rows:
            if name in present:
                amiss["duplicate_id"] += 1
                continue
            present[name] = None
            track = self._tracks.get(name)
            why = "" if track is None else self._broken(track, stamp_ns, category, x, y)
            if track is None or why:
                amiss[why] += bool(why)
                track = self._tracks[name] = _Track(category)
            track.add(stamp_ns, (x, y, yaw))
        self._present = list(present)
        self._forget(stamp_ns)
        return +amiss

    def _broken(self, track: _Track, stamp_ns: int, category: str, x: float, y: float) -> str:
        """Why the sample cannot be of the same agent; empty where it can."""
        elapsed = (stamp_ns - track.stamps[-1]) * 1e-9
        if elapsed > self.config.max_gap:
            return "reappeared"
        if category != track.category:
            return "category_change"
        moved = np.hypot(x - track.poses[-1][0], y - track.poses[-1][1])
        reach = self.config.jitter + self.config.max_speed * elapsed
        return "id_switch" if moved > reach else ""

    def _forget(self, stamp_ns: int) -> None:
        oldest = stamp_ns - self.config.max_gap * 1e9
        # A little longer than needed, so that one that comes back is told from a new one.
        oldest -= SPAN * 1e9
        lost = [name for name, track in self._tracks.items() if track.stamps[-1] < oldest]
        for name in lost:
            del self._tracks[name]

    def tracks(self) -> Tracks:
        """The agents seen at the last instant, in the order they were given, with their past."""
        names, count = self._present, len(self._present)
        xy, yaw = np.full((count, len(_TIMES), 2), np.nan), np.full((count, len(_TIMES)), np.nan)
        for i, name in enumerate(names):
            track = self._tracks[name]
            time = (np.array(track.stamps) - track.stamps[-1]) * 1e-9
            poses = np.array(track.poses)
            xy[i], yaw[i] = resampled(time, poses[:, :2], poses[:, 2], _TIMES)
        return Tracks(
            id=np.array(names, dtype=str),
            category=np.array([self._tracks[name].category for name in names], dtype=str),
            xy=xy[:, :HISTORY],
            yaw=yaw[:, :HISTORY],
            recent=xy[:, HISTORY:],
        )
