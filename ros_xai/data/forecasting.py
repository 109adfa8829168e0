"""Recordings of road users with the map they drive on, cut into forecasting scenes.

Positions are in metres in the recording's map frame (x, y in the ground plane), headings in radians
counter-clockwise from x, times in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 0.5  # s between samples of a scene
HISTORY = 5  # samples up to and with the present
HORIZON = 12  # samples ahead
FINE = 0.1  # s between the samples of the last second
RECENT = 11  # of them, up to and with the present
# A frame that is this near (s) to a wanted time is taken as it is: sensors' clocks jitter.
SNAP = 0.005
MAX_GAP = STEP  # s between frames that are interpolated; over more an agent may have done anything

_PAST, _RECENT = STEP * np.arange(1 - HISTORY, 1), FINE * np.arange(1 - RECENT, 1)
_FUTURE = STEP * np.arange(1, HORIZON + 1)

VEHICLE, TWO_WHEELER, PEDESTRIAN, TRAILER = "vehicle", "two-wheeler", "pedestrian", "trailer"
# A trailer's box turns about a hitch that the forecasts know nothing of; pedestrians are no
# unicycles. Both are only context of the others.
FORECAST = (VEHICLE, TWO_WHEELER)


@dataclass(frozen=True)
class VectorMap:
    """Polygons [n,2] of the drivable area and of crossings, polylines [n,2] of lane dividers."""

    drivable: tuple[Array, ...]
    dividers: tuple[Array, ...]
    crossings: tuple[Array, ...]


@dataclass(frozen=True)
class Tracks:
    """A agents of one instant with their past, `STEP` seconds apart, the present last.

    id [A]; category [A] of VEHICLE, TWO_WHEELER, PEDESTRIAN, TRAILER; xy [A,HISTORY,2] and yaw
    [A,HISTORY], NaN where not yet observed; the present is always there. recent [A,RECENT,2]: the
    last second, `FINE` apart, the present last, NaN where not observed; None if it is not known.
    """

    id: NDArray[np.str_]
    category: NDArray[np.str_]
    xy: Array
    yaw: Array
    recent: Array | None = None


@dataclass(frozen=True)
class Scene:
    """The tracks at `time` and what became of them: future [A,HORIZON,2], NaN where unknown."""

    time: float
    tracks: Tracks
    future: Array

    def complete(self) -> NDArray[np.bool_]:
        """Agents [A] whose whole past and whole future are known."""
        return np.isfinite(self.tracks.xy).all((1, 2)) & np.isfinite(self.future).all((1, 2))

    def moving(self, in_future: float = 2.0, in_past: float = 1.0) -> NDArray[np.bool_]:
        """Agents [A] displaced by 2 m at the last known sample of their future, or by 1 m since
        the first of their past."""
        present = self.tracks.xy[:, -1]
        known = np.isfinite(self.future[..., 0])
        last = HORIZON - 1 - np.argmax(known[:, ::-1], axis=1)
        ahead = np.linalg.norm(self.future[np.arange(len(last)), last] - present, axis=-1)
        behind = np.linalg.norm(present - self.tracks.xy[:, 0], axis=-1)
        return (ahead >= in_future) | (behind >= in_past)

    def forecastable(self) -> NDArray[np.bool_]:
        """Agents [A] of a category that is forecast."""
        return np.isin(self.tracks.category, FORECAST)


@dataclass(frozen=True)
class Recording:
    """A agents over T frames of any rate: time [T] rising, xy [T,A,2], yaw [T,A], NaN = absent."""

    name: str
    time: Array
    id: NDArray[np.str_]
    category: NDArray[np.str_]
    xy: Array
    yaw: Array
    map: VectorMap

    def scenes(self, first: int = 0) -> Iterator[Scene]:
        """A scene every `STEP` seconds after frame `first`, once there is a whole past: at the
        frame nearest to that time, none where that is over `FINE` / 2 away."""
        start = float(self.time[first]) + (HISTORY - 1) * STEP
        for wanted in np.arange(start, self.time[-1] + FINE / 2, STEP):
            now = int(np.abs(self.time - wanted).argmin())
            if abs(self.time[now] - wanted) <= FINE / 2:
                yield self._scene(now)

    def _scene(self, now: int) -> Scene:
        time, present = float(self.time[now]), np.isfinite(self.xy[now, :, 0])
        xy, yaw = self._at(time + np.concatenate([_PAST, _FUTURE, _RECENT]))
        past, future, recent = np.split(
            xy[:, present].swapaxes(0, 1), [HISTORY, HISTORY + HORIZON], axis=1
        )
        return Scene(
            time=time,
            tracks=Tracks(
                id=self.id[present],
                category=self.category[present],
                xy=past,
                yaw=yaw[:HISTORY, present].T,
                recent=recent,
            ),
            future=future,
        )

    def _at(self, wanted: Array) -> tuple[Array, Array]:
        """Positions [M,A,2] and headings [M,A] at the times `wanted` [M]: of the frame there, else
        linearly between the frames around; NaN where these are more than `MAX_GAP` apart."""
        after = np.searchsorted(self.time, wanted).clip(1, len(self.time) - 1)
        before = after - 1
        passed, span = wanted - self.time[before], self.time[after] - self.time[before]
        nearest = np.where(passed < span - passed, before, after)
        there = np.abs(self.time[nearest] - wanted) <= SNAP
        between = (passed >= 0) & (passed <= span) & (span <= MAX_GAP + SNAP)
        share = np.where(there, 0.0, np.where(between, passed / span, np.nan))
        a, b = np.where(there, nearest, before), np.where(there, nearest, after)
        turn = self.yaw[b] - self.yaw[a]
        turn = np.arctan2(np.sin(turn), np.cos(turn))
        xy = self.xy[a] + share[:, None, None] * (self.xy[b] - self.xy[a])
        return xy, self.yaw[a] + share[:, None] * turn


def table(
    frame: NDArray[np.integer], agent: NDArray[np.integer], values: Array, shape: tuple[int, int]
) -> Array:
    """Rows of a list of observations as [T,A,...], NaN where an agent was not observed."""
    filled = np.full((*shape, *values.shape[1:]), np.nan)
    filled[frame, agent] = values
    return filled


_WORLD_CATEGORIES = {
    "car": VEHICLE,
    "truck": VEHICLE,
    "bus": VEHICLE,
    "bicycle": TWO_WHEELER,
    "pedestrian": PEDESTRIAN,
}


def world_recordings(folder: Path) -> list[Path]:
    """The traffic files of a folder written by `ros_xai world dataset forecasting`, in order.

    Raises:
        FileNotFoundError: there are none.
    """
    files = sorted(folder.glob("traffic_*.npz"))
    if not files:
        raise FileNotFoundError(
            f"no traffic_*.npz in {folder}; write them with: ros_xai world dataset forecasting"
        )
    return files


def read_world(path: Path) -> Recording:
    """The recording of one traffic_NNNN.npz and the map_NNNN.json beside it."""
    map_path = path.with_name(path.name.replace("traffic_", "map_")).with_suffix(".json")
    with np.load(path) as traffic:
        return world_recording(path.stem, traffic, json.loads(map_path.read_text()))


def world_recording(
    name: str, traffic: Mapping[str, NDArray[Any]], map_record: Mapping[str, Any]
) -> Recording:
    """The recording of simulated traffic, from what the files of `read_world` hold."""
    return Recording(
        name=name,
        time=traffic["time"].astype(np.float64),
        id=traffic["id"].astype(str),
        category=np.array([_WORLD_CATEGORIES[c] for c in traffic["category"]]),
        xy=traffic["xy"].astype(np.float64),
        yaw=traffic["yaw"].astype(np.float64),
        map=vector_map(map_record),
    )


def vector_map(record: Mapping[str, Any]) -> VectorMap:
    """The map of a record of lists of points; its other entries, such as lanes, are not used."""
    layers = (record["drivable"], record["dividers"], record["crossings"])
    return VectorMap(*(tuple(np.asarray(line, dtype=np.float64) for line in la) for la in layers))
