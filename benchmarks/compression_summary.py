"""What `ros_xai bench compression` has measured of a network, as one table."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from benchmarks.seeded import Finished

METRICS = {"depth": ("abs_rel", -1), "segmentation": ("mIoU", 1), "classifier": ("agreement", 1)}
HIGHER = ("a1", "mIoU", "agreement")  # is better
ALLOWED = 0.02  # relative loss
NONE = "not measured"
RIVALS = ("l1", "random 0", "random 1")  # at equal parameters


def summarised(name: str, done: Finished) -> dict[str, Any]:
    """What is finished of one network, and the points that are chosen apart from its test."""
    metric, _ = METRICS[name]
    mine = [r for r in done.results if r["network"] == name and r["settings"] == done.settings]
    named = {r["what"]: r["figures"] for r in mine if "what" in r and r["what"] != "latency"}
    latency = {r["engine"]: r["figures"] for r in mine if r.get("what") == "latency"}
    before = named.get("original")
    if before is None:
        return {"metric": metric, "original": NONE}
    sweep = _sweep(mine, before, latency, metric)
    return {
        "metric": metric,
        "original": before,
        "sweep": sweep,
        "red_against_rivals": against_rivals(sweep, metric),
        "red++_beside_red": [
            {"budget": r["budget"], **r["figures"]} for r in mine if "budget" in r
        ],
        "splitting": named.get("splitting", NONE),
        "latency_unpruned": {
            engine: {which: t[which] for which in ("original", "unpruned", "eager torch")}
            for engine, t in latency.items()
        },
        "chosen_apart": chosen(sweep, latency, metric),
    }


def loss(metric: str, before: float, after: float) -> float:
    """Relative, of one metric."""
    return (before - after) / before * (1 if metric in HIGHER else -1)


def _sweep(
    mine: list[dict[str, Any]],
    before: dict[str, Any],
    latency: dict[str, dict[str, Any]],
    metric: str,
) -> list[dict[str, Any]]:
    table: dict[Any, dict[str, Any]] = {}
    for row in (r for r in mine if "method" in r):
        at = {name: row[name] for name in ("linkage", "multiple", "alpha")}
        point = table.setdefault(tuple(at.values()), at)
        if row["method"] != "red":
            point[row["method"]] = row["figures"]
            continue
        after = row["figures"]["red"]
        label = "{linkage} {multiple} {alpha:g}".format(**at) if at["alpha"] else "unpruned"
        chosen_by = after["chosen_by"]
        apart = max(loss(m, v, chosen_by[m]) for m, v in before["chosen_by"].items())
        point |= {
            **row["figures"],
            "relative_loss": round(loss(metric, before[metric], after[metric]), 4),
            "worst_loss_where_chosen": round(apart, 4),
            "latency": {engine: t[label] for engine, t in latency.items() if label in t},
        }
    return sorted(table.values(), key=lambda p: (p["linkage"], p["multiple"], p["alpha"]))


def against_rivals(sweep: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """At how many points of the sweep RED is better than each rival at equal parameters, by the
    metric and by how little the outputs change; and the means of both over those points."""
    names = (metric, "output_error_relative")
    better: dict[str, Any] = {}
    for rival in RIVALS:
        points = [(p["red"], p[rival]) for p in sweep if rival in p]
        better[rival] = {"points": len(points)}
        for name in names:
            sign = 1 if name in HIGHER else -1
            wins = sum(sign * mine[name] > sign * other[name] for mine, other in points)
            better[rival][f"better {name}"] = wins
    shared = [point for point in sweep if all(rival in point for rival in RIVALS)]
    means = {
        method: {name: round(fmean(p[method][name] for p in shared), 4) for name in names}
        for method in ("red", *RIVALS)
        if shared
    }
    return {**better, "means": means}


def chosen(
    sweep: list[dict[str, Any]], latency: dict[str, dict[str, Any]], metric: str
) -> dict[str, Any]:
    """Per engine the fastest point that loses no more than allowed where alpha is chosen, and what
    it loses on the test."""
    best: dict[str, Any] = {}
    for engine in latency:
        allowed = [
            point
            for point in sweep
            if point["alpha"]
            and point.get("worst_loss_where_chosen", 1) <= ALLOWED
            and engine in point.get("latency", {})
        ]
        if not allowed:
            best[engine] = "no point of the sweep"
            continue
        point = min(allowed, key=lambda point: point["latency"][engine]["median_ms"])
        names = ("linkage", "multiple", "alpha", "worst_loss_where_chosen", "relative_loss")
        best[engine] = {**{name: point[name] for name in names}, **point["latency"][engine]}
    return best
