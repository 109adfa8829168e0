"""Conditions on bags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ros_xai.core.config import ConfigError
from ros_xai.fleet.compare import compare
from ros_xai.fleet.conditions import broken, load, too_many
from ros_xai.fleet.measures import Measure

ROWS = {
    ("a", "old"): {"abs_rel": 0.10, "answered": 1.0},
    ("a", "new"): {"abs_rel": 0.16, "answered": 0.5},
    ("b", "old"): {"abs_rel": 0.20, "answered": 1.0},
    ("b", "new"): {"abs_rel": None, "answered": 1.0},
    ("c", "old"): {"answered": 1.0},
    ("c", "new"): {"abs_rel": 0.10, "answered": 1.0},
}


def broken_by(tmp_path: Path, text: str) -> set[tuple[str, str]]:
    path = tmp_path / "conditions.yaml"
    path.write_text(text)
    return {(b.bag, b.config) for b in broken(load(path, ["old", "new"]), ROWS, "old")}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (
            "{metric: abs_rel, max: 0.15}",
            {("a", "new"), ("b", "old"), ("b", "new"), ("c", "old")},
        ),
        ("{metric: abs_rel, max: 0.15, required: false}", {("a", "new"), ("b", "old")}),
        ("{metric: abs_rel, max: 0.15, configs: [old]}", {("b", "old"), ("c", "old")}),
        ("{metric: answered, min: 0.9}", {("a", "new")}),
        ("{metric: abs_rel, max_increase: 0.05, required: false}", {("a", "new")}),
        ("{metric: abs_rel, max_increase: 0.07, required: false}", set()),
        ("{metric: answered, max_decrease: 0.4}", {("a", "new")}),
        # better than the first by so much, which the first itself cannot be
        ("{metric: answered, max_decrease: -0.1, configs: [old]}", set()),
        ("{metric: abs_rel, max_increase: 1, configs: [new]}", {("b", "new"), ("c", "new")}),
    ],
)
def test_bounds(tmp_path: Path, condition: str, expected: set[tuple[str, str]]) -> None:
    assert broken_by(tmp_path, f"bags: [{condition}]") == expected


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        ("0", "2 regressions, at most 0 allowed"),
        ("1", "2 regressions, at most 1 allowed"),
        ("2", ""),
        ("null", ""),
    ],
)
def test_regressions_may_be_as_many_as_allowed(tmp_path: Path, bound: str, told: str) -> None:
    worse, same = np.linspace(0.2, 0.3, 10), np.linspace(0.1, 0.2, 10)
    values = {"rmse": worse, "abs_rel": worse, "a1": worse, "coverage": same}
    found = compare(
        [Measure(m, "", "", {"old": same, "new": v}) for m, v in values.items()], "old", "new"
    )
    path = tmp_path / "conditions.yaml"
    path.write_text(f"regressions: {bound}")
    assert too_many(load(path, ["old", "new"]), found) == told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bags: [{metric: absrel, max: 1}]", "did you mean abs_rel"),
        ("bags: [{metric: abs_rel}]", "has no min, max"),
        ("bags: [{metric: abs_rel, max: .nan}]", "abs_rel: max is no number"),
        ("bags: [{metric: abs_rel, maximum: 1}]", "unknown key"),
        ("bags: [{metric: abs_rel, max: 1, configs: [newer]}]", "no configuration newer"),
        ("regressions: none", "regressions"),
        ("3", "expected `bags:`"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        broken_by(tmp_path, text)
