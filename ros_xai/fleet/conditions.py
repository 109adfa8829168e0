"""What every bag must satisfy, as a YAML file: pass or fail per bag, and for the whole run."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ros_xai.core.config import ConfigError, from_mapping
from ros_xai.fleet.compare import Comparison
from ros_xai.fleet.tables import DEPTH_COLUMNS

METRICS = ("answered", "drops", "frames_out", "clock_ms_p50", "clock_ms_p99", *DEPTH_COLUMNS)
BOUNDS = ("min", "max", "max_increase", "max_decrease")


@dataclass(frozen=True)
class BagCondition:
    """Bounds of one column of the table `bags`.

    `max_increase` and `max_decrease` are against the first configuration on the same bag.
    `configs`: whom it concerns, empty for all. A bag without the figure fails if `required`.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    max_increase: float | None = None
    max_decrease: float | None = None
    configs: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Conditions:
    """`regressions`: the most that the comparison may find, None for any number."""

    bags: tuple[BagCondition, ...] = ()
    regressions: int | None = None


@dataclass(frozen=True)
class Broken:
    """A condition that a bag does not satisfy under a configuration; `text` says by how much."""

    bag: str
    config: str
    text: str


def load(path: Path, configs: Sequence[str]) -> Conditions:
    """The conditions of a file.

    Raises:
        ConfigError: an unknown key, metric or configuration, or a condition without a bound.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected `bags:` and `regressions:`")
    conditions = from_mapping(Conditions, content, str(path))
    for condition in conditions.bags:
        if condition.metric not in METRICS:
            close = difflib.get_close_matches(condition.metric, METRICS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{path}: no metric {condition.metric}{hint}")
        bounds = {name: getattr(condition, name) for name in BOUNDS}
        if all(value is None for value in bounds.values()):
            raise ConfigError(f"{path}: {condition.metric} has no {', '.join(BOUNDS)}")
        for name, value in bounds.items():
            if value is not None and math.isnan(value):  # nothing would ever break it
                raise ConfigError(f"{path}: {condition.metric}: {name} is no number")
        if unknown := set(condition.configs) - set(configs):
            raise ConfigError(
                f"{path}: no configuration {unknown.pop()}; there are {list(configs)}"
            )
    return conditions


def broken(
    conditions: Conditions, rows: Mapping[tuple[str, str], Mapping[str, Any]], baseline: str
) -> list[Broken]:
    """What does not hold, by rows of `bags` of each (bag, config)."""
    return [
        Broken(bag, config, text)
        for (bag, config), row in rows.items()
        for condition in conditions.bags
        if not condition.configs or config in condition.configs
        for text in _violations(condition, row, rows.get((bag, baseline), {}), config == baseline)
    ]


def too_many(conditions: Conditions, comparisons: Sequence[Comparison]) -> str:
    """What the comparison breaks; empty when it breaks nothing."""
    found = sum(comparison.verdict == "regression" for comparison in comparisons)
    if conditions.regressions is None or found <= conditions.regressions:
        return ""
    return f"{found} regressions, at most {conditions.regressions} allowed"


def _violations(
    condition: BagCondition, row: Mapping[str, Any], before: Mapping[str, Any], is_baseline: bool
) -> Iterator[str]:
    name, value = condition.metric, _number(row.get(condition.metric))
    if value is None:
        if condition.required:
            yield f"{name} is unknown"
        return
    if condition.min is not None and value < condition.min:
        yield f"{name} {value:.4g} < {condition.min:g}"
    if condition.max is not None and value > condition.max:
        yield f"{name} {value:.4g} > {condition.max:g}"
    if is_baseline or (condition.max_increase is None and condition.max_decrease is None):
        return
    old = _number(before.get(name))
    if old is None:
        if condition.required:
            yield f"{name} of the first configuration is unknown"
        return
    if condition.max_increase is not None and value - old > condition.max_increase:
        yield f"{name} rose by {value - old:.4g} > {condition.max_increase:g}"
    if condition.max_decrease is not None and old - value > condition.max_decrease:
        yield f"{name} fell by {old - value:.4g} > {condition.max_decrease:g}"


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
