"""Slices of rows made by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ros_xai.fleet.measures import Evaluated, Measure, measures
from tests.fleet.conftest import START_NS, MadeUp


def found(made_up: MadeUp, rows, tags=None, **others) -> dict[tuple[str, str, str], Measure]:
    plan, store, summary = made_up(rows, tags, **others)
    names = [candidate.name for candidate in plan.candidates]
    bags = [bag.name for bag in plan.bags]
    run = Evaluated(bags, names, summary.keys, tags or {})
    return {(m.metric, m.kind.strip(","), m.part): m for m in measures(store, run)}


def frame(speed: float | None, brightness: float, abs_rel: float | None) -> dict[str, object]:
    return {"stamp_ns": START_NS, "speed": speed, "brightness": brightness, "abs_rel": abs_rel}


def test_frames_fall_into_parts_by_speed_and_light(made_up: MadeUp) -> None:
    rows = {("a", "x"): {"abs_rel": 0.2}, ("b", "x"): {"abs_rel": 0.3}}
    frames = {
        ("a", "x"): [
            frame(0.0, 0.1, 0.1), frame(7.0, 0.1, 0.2), frame(8.0, 0.5, 0.4), frame(8.0, 0.5, None)
        ],
        ("b", "x"): [frame(None, 0.5, 0.3), frame(25.0, 0.3, 0.6)],
    }  # fmt: skip
    by = found(made_up, rows, frames=frames)

    def values(kind: str, part: str) -> list[float]:
        return by["abs_rel", kind, part].values["x"].tolist()

    assert values("speed, m/s", "0-0.5") == [0.1, pytest.approx(np.nan, nan_ok=True)]
    assert values("speed, m/s", "5-10")[0] == pytest.approx(0.3)
    assert values("speed, m/s", "20+")[1] == 0.6
    assert values("light", "dark")[0] == pytest.approx(0.15)
    assert values("light", "dim")[1] == 0.6
    assert values("light", "bright") == [0.4, 0.3]


def test_classes_ranges_tags_and_hours_are_slices(made_up: MadeUp) -> None:
    rows = {
        ("a", "x"): {"abs_rel": 0.2, "range_0_10_abs_rel": 0.1, "beam_40_up_abs_rel": 0.7},
        ("b", "x"): {"abs_rel": 0.3},
    }
    classes = {
        ("a", "x"): [
            {"stamp_ns": 0, "class": "car", "pixels": 5, "abs_rel": 0.5},
            {"stamp_ns": 1, "class": "car", "pixels": 5, "abs_rel": 0.7},
        ]
    }
    tags = {"a": {"domain": "night"}, "b": {"domain": "clear", "city": "Ulm"}}
    by = found(made_up, rows, tags, classes=classes)
    assert by["abs_rel", "class", "car"].values["x"][0] == pytest.approx(0.6)
    assert by["abs_rel", "range", "0-10"].values["x"][0] == 0.1
    assert by["abs_rel", "beam", "40-"].values["x"][0] == 0.7
    assert by["abs_rel", "domain", "night"].values["x"].tolist()[0] == 0.2
    assert np.isnan(by["abs_rel", "domain", "night"].values["x"][1])
    assert by["abs_rel", "city", "Ulm"].values["x"][1] == 0.3
    assert by["abs_rel", "hour, UTC", "18-24"].values["x"].tolist() == [0.2, 0.3]


def test_failing_where_another_succeeds_counts_as_no_answer(made_up: MadeUp) -> None:
    rows = {
        ("a", "old"): {"abs_rel": 0.2},
        ("a", "new"): {"status": "failed", "answered": None},
        ("b", "old"): {"status": "failed", "answered": None},
        ("b", "new"): {"status": "failed", "answered": None},
    }
    answered = found(made_up, rows)["answered", "", ""].values
    assert answered["old"][0] == 1.0
    assert answered["new"][0] == 0.0
    assert np.isnan(answered["old"][1]) and np.isnan(answered["new"][1])


def test_hours_are_of_utc_from_the_full_hour_to_the_next(
    made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        day = 1_700_006_400  # 2023-11-15, 0:00 UTC
        starts = {"a": day, "b": day + 6 * 3600 - 1, "c": day + 6 * 3600}
        rows = {(bag, "x"): {"abs_rel": 0.2, "start_s": float(s)} for bag, s in starts.items()}
        by = found(made_up, rows)
    finally:
        monkeypatch.undo()
        time.tzset()
    inside = {p: np.isfinite(m.values["x"]).tolist() for (_, k, p), m in by.items() if "hour" in k}
    assert inside == {"0-6": [True, True, False], "6-12": [False, False, True]}


def test_which_way_is_worse() -> None:
    metrics = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3", "coverage", "answered")
    lower = [m for m in metrics if Measure(m, "", "", {}).lower_is_better]
    assert lower == ["abs_rel", "sq_rel", "rmse", "rmse_log"]
