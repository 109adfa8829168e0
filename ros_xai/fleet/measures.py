"""What is compared: one figure of one part of the data, a value per bag and candidate."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ros_xai.depth.metrics import NAMES
from ros_xai.fleet.tables import BINS, Store, column

SPEEDS = (0.0, 0.5, 5.0, 10.0, 20.0)  # m/s; standing, walking pace, town, main road, beyond
BRIGHTNESSES = (0.0, 0.2, 0.35)  # mean of the picture: dark, dim, bright
LIGHTS = ("dark", "dim", "bright")
HOURS = (0, 6, 12, 18)  # UTC, of the bag's first message
HIGHER_IS_BETTER = ("a1", "a2", "a3", "coverage", "answered")
JUDGED = "abs_rel"  # the figure of the slices

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """`metric` over the `part` of the data that `kind` cuts out (both empty: all of it).

    `values` of each candidate by name: [B] over the bags, NaN where a bag has none.
    """

    metric: str
    kind: str
    part: str
    values: Mapping[str, Values]

    @property
    def lower_is_better(self) -> bool:
        """Whether a rise is a regression."""
        return self.metric not in HIGHER_IS_BETTER

    @property
    def name(self) -> str:
        """For people: `abs_rel, range 0-10`."""
        return self.metric if not self.kind else f"{self.metric}, {self.kind} {self.part}"


@dataclass(frozen=True)
class Evaluated:
    """The bags of a run, the candidates, and the key of each pair's task; tags by bag."""

    bags: Sequence[str]
    candidates: Sequence[str]
    keys: Mapping[tuple[str, str], str]
    tags: Mapping[str, Mapping[str, str]]


def measures(store: Store, run: Evaluated) -> list[Measure]:
    """All of them: the figures of whole bags first, then the slices."""
    whole = _of_bags(store, run)
    tagged = _of_tags(run, whole[0])
    return [*whole, *_of_frames(store, run), *_of_classes(store, run), *tagged]


def _of_bags(store: Store, run: Evaluated) -> list[Measure]:
    binned = [column(f"{part}.{JUDGED}") for part in BINS]
    figures = [*NAMES, "coverage", "unseen_abs_rel", *binned]
    read = ["key", "status", "answered", "start_s", *figures]
    rows = {r["key"]: r for r in store.read("bags", set(run.keys.values()), read).to_pylist()}

    def values(name: str) -> dict[str, Values]:
        return {
            c: _floats(rows.get(run.keys[b, c], {}).get(name) for b in run.bags)
            for c in run.candidates
        }

    found = [Measure(name, "", "", values(name)) for name in (*NAMES, "coverage")]
    found.append(Measure("answered", "", "", _answered(run, rows)))
    found.append(Measure(JUDGED, "pixels", "without a beam", values("unseen_abs_rel")))
    for part, name in zip(BINS, binned):
        kind, interval = part.split(".")
        found.append(Measure(JUDGED, kind, interval, values(name)))
    starts = [
        next((rows[k]["start_s"] for c in run.candidates if (k := run.keys[b, c]) in rows), None)
        for b in run.bags
    ]
    return found + _of_hours(starts, found[0])


def _answered(run: Evaluated, rows: Mapping[str, Mapping[str, object]]) -> dict[str, Values]:
    """Share of images answered; 0 where a candidate fails on a bag that another one can do."""
    status = {pair: rows.get(key, {}).get("status", "failed") for pair, key in run.keys.items()}
    usable = [any(status[b, c] != "failed" for c in run.candidates) for b in run.bags]
    return {
        c: _floats(
            None if not can else rows.get(run.keys[b, c], {}).get("answered") or 0.0
            for b, can in zip(run.bags, usable)
        )
        for c in run.candidates
    }


def _of_hours(starts: Sequence[float | None], all_day: Measure) -> list[Measure]:
    hours = [
        -1 if s is None else datetime.datetime.fromtimestamp(s, datetime.timezone.utc).hour
        for s in starts
    ]
    found = []
    for low, high in zip(HOURS, (*HOURS[1:], 24)):
        inside = np.array([low <= hour < high for hour in hours])
        found += _restricted(all_day, "hour, UTC,", f"{low}-{high}", inside)
    return found


def _of_tags(run: Evaluated, whole: Measure) -> list[Measure]:
    found = []
    for tag in sorted({tag for tags in run.tags.values() for tag in tags}):
        values = [run.tags.get(bag, {}).get(tag) for bag in run.bags]
        for value in sorted({v for v in values if v is not None}):
            inside = np.array([v == value for v in values])
            found += _restricted(whole, tag, value, inside)
    return found


def _restricted(whole: Measure, kind: str, part: str, inside: NDArray[np.bool_]) -> list[Measure]:
    """The measure on some bags; nothing where there are none of them."""
    values = {c: np.where(inside, v, np.nan) for c, v in whole.values.items()}
    return [Measure(whole.metric, kind, part, values)] if inside.any() else []


def _of_frames(store: Store, run: Evaluated) -> list[Measure]:
    """By speed and by light: mean over the frames of a bag that fall into the part."""
    speeds = [f"{a:g}-{b:g}" for a, b in itertools.pairwise(SPEEDS)] + [f"{SPEEDS[-1]:g}+"]
    cuts = (
        ("speed, m/s,", "speed", SPEEDS, speeds),
        ("light", "brightness", BRIGHTNESSES, LIGHTS),
    )

    def parts_of(table: pa.Table) -> Iterator[tuple[tuple[str, str], NDArray[np.bool_]]]:
        for kind, name, edges, parts in cuts:
            values = _column(table, name)
            bins = np.where(np.isfinite(values), np.digitize(values, edges) - 1, -1)
            for index, part in enumerate(parts):
                yield (kind, part), bins == index

    order = [(kind, part) for kind, _, _, parts in cuts for part in parts]
    found = _means(store, run, "frames", ["speed", "brightness"], parts_of)
    return [found[part] for part in order if part in found]


def _of_classes(store: Store, run: Evaluated) -> list[Measure]:
    def parts_of(table: pa.Table) -> Iterator[tuple[tuple[str, str], NDArray[np.bool_]]]:
        classes = table["class"].to_numpy()
        for name in set(classes):
            yield ("class", name), classes == name

    found = _means(store, run, "classes", ["class"], parts_of)
    return [found[part] for part in sorted(found)]


Parts = Callable[[pa.Table], Iterator[tuple[tuple[str, str], NDArray[np.bool_]]]]


def _means(
    store: Store, run: Evaluated, table: str, columns: Sequence[str], parts_of: Parts
) -> dict[tuple[str, str], Measure]:
    """By (kind, part): the means over a task's rows in the part, of which there are some.

    Reads task after task: the rows of a fleet would not fit into memory.
    """
    means: dict[tuple[str, str], dict[str, float]] = {}
    for key in sorted(set(run.keys.values())):
        rows = store.read(table, [key], [*columns, JUDGED])
        errors = _column(rows, JUDGED)
        for part, inside in parts_of(rows):
            known = errors[inside & np.isfinite(errors)]
            if known.size:
                means.setdefault(part, {})[key] = float(known.mean())
    return {
        (kind, part): Measure(
            JUDGED,
            kind,
            part,
            {c: _floats(mean.get(run.keys[b, c]) for b in run.bags) for c in run.candidates},
        )
        for (kind, part), mean in means.items()
    }


def _column(table: pa.Table, name: str) -> Values:
    """A column of floats, null as NaN."""
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _floats(values: Iterable[Any]) -> Values:
    """None as NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
