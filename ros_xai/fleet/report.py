"""The page that compares candidates: one HTML file that opens offline."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from ros_xai.fleet import plots
from ros_xai.fleet.compare import CONFIDENCE, LEAST_BAGS, Comparison, compare
from ros_xai.fleet.conditions import Broken
from ros_xai.fleet.measures import Evaluated, Measure, measures
from ros_xai.fleet.run import Plan, Summary
from ros_xai.fleet.tables import Store, write_whole
from ros_xai.replay import panels
from ros_xai.replay.results import read_json

WORST = 4  # bags with pictures, per candidate
FOREST = 16  # rows of the chart of intervals
JUDGED = "abs_rel"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """What a run says: rows of `bags` by (bag, candidate), measures, comparisons by candidate."""

    rows: Mapping[tuple[str, str], Row]
    measures: Sequence[Measure]
    comparisons: Mapping[str, Sequence[Comparison]]

    @property
    def all(self) -> list[Comparison]:
        """Of all candidates."""
        return [comparison for found in self.comparisons.values() for comparison in found]


def findings(plan: Plan, store: Store, summary: Summary) -> Findings:
    """Read the run's tables and compare every candidate with the first."""
    by_key = {row["key"]: row for row in store.read("bags", set(summary.keys.values())).to_pylist()}
    rows = {pair: by_key[key] for pair, key in summary.keys.items() if key in by_key}
    names = [candidate.name for candidate in plan.candidates]
    bags = list(dict.fromkeys(bag for bag, _ in summary.keys))
    tags = {bag.name: bag.tags for bag in plan.bags}
    found = measures(store, Evaluated(bags, names, summary.keys, tags)) if bags else []
    comparisons = {name: compare(found, names[0], name) for name in names[1:]}
    return Findings(rows, found, comparisons)


def problems(summary: Summary, found: Findings) -> list[dict[str, str]]:
    """All that was not evaluated whole, by name: bag, config (empty: all) and what was wrong."""
    listed = [
        {"bag": bag, "config": "", "problem": text} for bag, text in summary.unreadable.items()
    ]
    by_bag: dict[tuple[str, str], list[str]] = {}
    for (bag, config), row in found.rows.items():
        for text in row["problems"] or ():
            by_bag.setdefault((bag, text), []).append(config)
    configs = {config for _, config in found.rows}
    for (bag, text), where in by_bag.items():
        everywhere = set(where) == configs
        listed.append(
            {"bag": bag, "config": "" if everywhere else ", ".join(where), "problem": text}
        )
    listed += [
        {
            "bag": failure.bag,
            "config": failure.config,
            "problem": f"given up after {failure.attempts} attempts: {failure.error}; "
            f"log: {failure.log}",
        }
        for failure in summary.failures
    ]
    return listed


def write_report(
    plan: Plan,
    store: Store,
    summary: Summary,
    found: Findings,
    broken: Sequence[Broken] | None,
    too_many: str,
) -> Path:
    """Write report.html into the run's folder; `broken` is None without conditions."""
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("ros_xai.fleet", "templates"),
                PackageLoader("ros_xai.replay", "templates"),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = [candidate.name for candidate in plan.candidates]
    whole = [m for m in found.measures if not m.kind]
    page = environment.get_template("fleet.html.j2").render(
        run=read_json(store.folder / "run.json"),
        configs=names,
        bags=len(plan.bags),
        frames=sum(row["frames_out"] or 0 for row in found.rows.values()),
        problems=problems(summary, found),
        failed=len(summary.failures),
        tasks={"all": len(set(summary.keys.values())), "already": summary.already},
        comparisons=[
            _compared(name, rows, found.measures, names[0])
            for name, rows in found.comparisons.items()
        ],
        means=[
            {"name": m.name, "values": [_mean(m.values[name]) for name in names]} for m in whole
        ],
        slices=_slices(found, names),
        distributions=[
            plots.cumulative(m.values, m.name)
            for m in whole
            if m.metric in (JUDGED, "rmse", "a1") and _any(m)
        ],
        worst=_worst(plan, store, summary, found),
        conditions=None if broken is None else _conditions(plan, found, broken),
        too_many=too_many,
        confidence=round(100 * CONFIDENCE),
        least=LEAST_BAGS,
        legends={"depth": panels.depth_legend(), "error": panels.error_legend()},
        spans={"near": panels.NEAR, "far": panels.FAR, "error": panels.ERROR_SPAN},
    )
    path = store.folder / "report.html"
    write_whole(path, page.encode())
    return path


def _compared(
    name: str, rows: Sequence[Comparison], found: Sequence[Measure], baseline: str
) -> dict[str, Any]:
    """A candidate's section: its regressions and the rest, the charts of its differences."""
    judged = next((m for m in found if m.metric == JUDGED and not m.kind), None)
    difference = None if judged is None else judged.values[name] - judged.values[baseline]
    has = difference is not None and np.isfinite(difference).any()
    return {
        "name": name,
        "rows": rows,
        "counts": {v: sum(r.verdict == v for r in rows) for v in ("regression", "improvement")},
        "forest": plots.forest(rows[:FOREST]) if rows else "",
        "histogram": plots.differences(difference, f"difference of {JUDGED}") if has else "",
    }


def _slices(found: Findings, names: Sequence[str]) -> list[dict[str, Any]]:
    """By what cuts the data: its parts with the mean of each candidate and the number of bags."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for measure in found.measures:
        if measure.kind and _any(measure):
            kinds.setdefault(measure.kind.strip(","), []).append(
                {
                    "part": measure.part,
                    "bags": int(np.isfinite(measure.values[names[0]]).sum()),
                    "values": [_mean(measure.values[name]) for name in names],
                }
            )
    return [{"kind": kind, "rows": rows} for kind, rows in kinds.items()]


def _worst(plan: Plan, store: Store, summary: Summary, found: Findings) -> list[dict[str, Any]]:
    """Per candidate the bags that lost most against the first one, or have the largest error."""
    names = [candidate.name for candidate in plan.candidates]
    shown = []
    for name in names[1:] or names:
        scores = {
            bag: score
            for bag, config in found.rows
            if config == name and (score := _score(found, bag, name, names)) is not None
        }
        worst = sorted(scores, key=lambda bag: -scores[bag])[:WORST]
        for bag in worst:
            beside = [names[0], name] if name != names[0] else [name]
            shown.append(
                {
                    "bag": bag,
                    "config": name,
                    "score": scores[bag],
                    "against": names[0] if name != names[0] else None,
                    "views": [_view(plan, store, summary, found, bag, n) for n in beside],
                }
            )
    return shown


def _score(found: Findings, bag: str, name: str, names: Sequence[str]) -> float | None:
    value = found.rows[bag, name][JUDGED]
    if name == names[0] or value is None:
        return value
    before = found.rows.get((bag, names[0]), {}).get(JUDGED)
    return None if before is None else value - before


def _view(
    plan: Plan, store: Store, summary: Summary, found: Findings, bag: str, name: str
) -> dict[str, Any]:
    """The pictures of a bag's worst frame under a candidate, and how to see it all."""
    pictures = store.read("pictures", {summary.keys[bag, name]}).to_pylist()
    row = found.rows[bag, name]
    start_ns = round(row["start_s"] * 1e9)
    return {
        "config": name,
        "abs_rel": row[JUDGED],
        "time_s": (pictures[0]["stamp_ns"] - start_ns) / 1e9 if pictures else None,
        "frame_abs_rel": pictures[0]["abs_rel"] if pictures else None,
        "panels": pictures,
        "command": replay_command(plan, bag, name),
    }


def replay_command(plan: Plan, bag: str, config: str) -> str:
    """What a user types to see the bag under the candidate."""
    path = next(b.path for b in plan.bags if b.name == bag)
    candidate = next(c for c in plan.candidates if c.name == config)
    words = ["ros_xai", "replay", str(path), "--lockstep"]
    if candidate.path is not None:
        words += ["--config", str(candidate.path)]
    for name, topic in plan.topics.items():
        words += ["--remap", f"{name}:={topic}"]
    words += ["--out", f"out/{bag.replace('/', '_')}-{config}"]
    return shlex.join(words)


def _conditions(plan: Plan, found: Findings, broken: Sequence[Broken]) -> list[dict[str, Any]]:
    """A row per bag and candidate, those that fail first."""
    texts: dict[tuple[str, str], list[str]] = {pair: [] for pair in found.rows}
    for each in broken:
        texts[each.bag, each.config].append(each.text)
    rows = [{"bag": b, "config": c, "broken": list(t)} for (b, c), t in texts.items()]
    return sorted(rows, key=lambda row: not row["broken"])


def _any(measure: Measure) -> bool:
    return any(np.isfinite(values).any() for values in measure.values.values())


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
