"""RED and RED++ on trained networks: what they save, what they cost, whether it is faster.

The shipped depth network (KITTI, abs_rel), the shipped segmenter (CamVid, mIoU) and an ImageNet
classifier (EfficientNet-Lite0 on photographs and street scenes, top-1 agreement with itself);
needs ROS_XAI_DATA. `sweep`: alpha over both linkages, with magnitude pruning and random merging
at the same parameters. `hashing`: error budgets at alpha 0, RED beside RED++. Then the latency of
some points of the sweep on every engine, in paired rounds on one thread, as CPU time
(`--latency`); the rest can be interrupted and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.compression_cases import NAMES, task
from benchmarks.results import write
from benchmarks.seeded import Finished
from ros_xai.cli.prune_tasks import Task
from ros_xai.compression import hashed_network, l1_pruning, output_error, random_merging, red
from ros_xai.compression.pruning import PrunedModel
from ros_xai.compression.report import layer_costs, split_count
from ros_xai.compression.splitting import affine_layers
from ros_xai.engines.compile import EngineName

ALPHAS = {"connected": (0.0, 0.002, 0.1), "complete": (0.004, 0.015, 0.03, 0.04, 0.06)}
BUDGETS = (0.03, 0.1)
COMPARED, RIVALS = "complete", ("l1", "random 0", "random 1")  # at equal parameters
ENGINES: tuple[EngineName, ...] = ("torch", "openvino", "onnxruntime")
ROUNDS, THREADS = 11, 1
# Points whose times are measured: what loses little, and the smallest.
TIMED: dict[str, tuple[tuple[Any, float], ...]] = {
    "depth": (("complete", 0.03), ("complete", 0.04), ("connected", 0.1)),
    "segmentation": (("complete", 0.004), ("complete", 0.015), ("connected", 0.1)),
    "classifier": (("complete", 0.004), ("complete", 0.015)),
}
ALLOWED = 0.02  # relative loss of the metric
SETTINGS = (3,)


def score(case: Task, module: Any) -> float:
    """The metric, on OpenVINO and real images."""
    return case.score(case.engine(getattr(module, "module", module), "openvino", 1))


def judged(case: Task, module: Any) -> dict[str, float]:
    """Metric, and error of the outputs in torch, on real images."""
    error = output_error(case.module, module, case.inputs[:2])
    return {
        case.metric: score(case, module),
        "output_error_relative": error.relative,
        "output_error_max": error.maximum,
        "output_error_mean": error.mean,
    }


def sizes(case: Task, pruned: PrunedModel) -> dict[str, Any]:
    """Of the report; operations of a call of the usual size."""
    report = pruned.report.figures()
    names = ("parameters", "distinct", "bytes", "packed_bytes")
    before = ("parameters_before", "distinct_before", "bytes_before")
    layers = affine_layers(pruned.module)
    costs = layer_costs(pruned.module, case.example)
    return {
        **{name: report[name] for name in (*names, *before)},
        "macs": sum(cost.macs for cost in costs.values()),
        "multiplications": sum(split_count(layers[n], c.positions) for n, c in costs.items()),
        "macs_before": sum(cost.macs for cost in layer_costs(case.module, case.example).values()),
    }


@lru_cache(maxsize=16)
def _pruned(case: Task, linkage: Any, alpha: float) -> PrunedModel:
    return red(case.module, case.small, alpha, linkage=linkage)


def sweep_point(case: Task, linkage: Any, alpha: float) -> dict[str, Any]:
    """RED at one alpha."""
    pruned = _pruned(case, linkage, alpha)
    return {"figures": {"sizes": sizes(case, pruned), "red": judged(case, pruned)}}


def rival(case: Task, linkage: Any, alpha: float, method: str) -> dict[str, Any]:
    """Another method at the same parameters."""
    pruned = _pruned(case, linkage, alpha)
    if method == "l1":
        other = l1_pruning(case.module, case.small, pruned)
    else:
        other = random_merging(case.module, case.small, pruned, int(method.split()[1]))
    assert other.report.parameters == pruned.report.parameters
    return {"figures": {case.metric: score(case, other)}}


def hashing_point(case: Task, budget: float) -> dict[str, Any]:
    """Hashing within a budget: distinct values, and multiplications after input splitting."""
    pruned = red(case.module, case.small, error_budget=budget)
    same = output_error(hashed_network(case.module, error_budget=budget), pruned, case.inputs[:2])
    found = {"sizes": sizes(case, pruned), "red++": judged(case, pruned)}
    return {"figures": {**found, "relative_to_hashed": same.relative}}


def original(case: Task) -> dict[str, Any]:
    return {"figures": judged(case, case.module)}


def latencies(
    case: Task, engine: EngineName, points: Sequence[tuple[Any, float]]
) -> dict[str, Any]:
    """Median CPU ms of the original and of every point on one engine, and the paired ratios.

    On one thread, as the process's own time: other work on the machine takes the wall clock's, but
    hardly this.

    "unpruned" is folded and hashed like the points, so that folding is not taken for pruning.
    """
    modules = {"original": case.module, "unpruned": hashed_network(case.module)}
    modules |= {f"{way} {alpha:g}": _pruned(case, way, alpha).module for way, alpha in points}
    inputs = case.named(case.example)
    torch.set_num_threads(THREADS)  # not before: on a busy machine they hinder each other
    engines = {name: case.engine(module, engine, THREADS) for name, module in modules.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(ROUNDS + 3):
        for name, run in engines.items():
            begun = time.process_time()
            run(inputs)
            if turn >= 3:
                times[name].append((time.process_time() - begun) * 1e3)
    found = {
        name: {
            "median_cpu_ms": round(statistics.median(mine), 3),
            "faster_than_unpruned": round(
                statistics.median(a / b for a, b in zip(times["unpruned"], mine)), 3
            ),
        }
        for name, mine in times.items()
    }
    return {"figures": found}


def splitting_latency(case: Task) -> dict[str, Any]:
    """Of every convolution split within an error budget: how many are faster than before."""
    from ros_xai.compression import red_pp

    report = red_pp(case.module, case.example, error_budget=max(BUDGETS)).report
    tried = [layer for layer in report.layers if len(layer.milliseconds or {}) > 1]
    ratios = [
        min(ms for form, ms in layer.milliseconds.items() if form != "original")
        / layer.milliseconds["original"]
        for layer in tried
        if layer.milliseconds
    ]
    faster = sum(layer.form != "original" for layer in tried)
    typical = statistics.median(ratios) if ratios else None
    return {"figures": {"tried": len(tried), "faster": faster, "median_time_ratio": typical}}


def main(argv: list[str] | None = None) -> None:
    """Runs what is not finished yet, prints one JSON line per result, writes what is finished."""
    parser = argparse.ArgumentParser(prog="ros_xai bench compression", description=__doc__)
    parser.add_argument("--latency", action="store_true", help="only times")
    parser.add_argument("--networks", default=",".join(NAMES), help="of depth, segmentation, ...")
    parser.add_argument("--write", action="store_true", help="only write what is finished")
    arguments = parser.parse_args(argv)
    data = os.environ.get("ROS_XAI_DATA")
    if not data:
        parser.error("ROS_XAI_DATA must name the folder of real driving data")
    torch.set_num_threads(1)
    done = Finished("compression", SETTINGS)
    for name in () if arguments.write else arguments.networks.split(","):
        torch.manual_seed(0)
        case = task(name, Path(data))
        (_measure if arguments.latency else _judge)(case, done)
    summary = {name: summarised(name, done) for name in NAMES}
    write("compression", "ros_xai bench compression", summary, threads=THREADS, rounds=ROUNDS)


def _points() -> list[tuple[Any, float]]:
    return [(way, alpha) for way, alphas in ALPHAS.items() for alpha in alphas]


def _judge(case: Task, done: Finished) -> None:
    """The sweep, hashing within budgets, then the rivals."""
    key = {"network": case.name}
    done.get({**key, "what": "original"}, partial(original, case))
    for way, a in _points():
        at = {**key, "linkage": way, "alpha": a}
        done.get({**at, "method": "red"}, partial(sweep_point, case, way, a))
    for budget in BUDGETS:
        done.get({**key, "budget": budget}, partial(hashing_point, case, budget))
    for a in ALPHAS[COMPARED]:
        at = {**key, "linkage": COMPARED, "alpha": a}
        for other in RIVALS:
            done.get({**at, "method": other}, partial(rival, case, COMPARED, a, other))


def _measure(case: Task, done: Finished) -> None:
    key, points = {"network": case.name}, TIMED[case.name]
    for engine in ENGINES:
        compute = partial(latencies, case, engine, points)
        done.get({**key, "what": "latency", "engine": engine}, compute)
    done.get({**key, "what": "splitting"}, partial(splitting_latency, case))


METRICS = {"depth": ("abs_rel", -1), "segmentation": ("mIoU", 1), "classifier": ("agreement", 1)}


def summarised(name: str, done: Finished) -> dict[str, Any]:
    """What is finished of one network, and its fastest points within the allowed loss."""
    metric, better = METRICS[name]
    mine = [r for r in done.results if r["network"] == name and r["settings"] == done.settings]
    latency = {r["engine"]: r["figures"] for r in mine if r.get("what") == "latency"}
    before = next((r["figures"] for r in mine if r.get("what") == "original"), None)
    if before is None:
        return {"metric": metric, "original": "not measured"}
    table: dict[Any, dict[str, Any]] = {}
    for row in (r for r in mine if "method" in r):
        point = table.setdefault(
            (row["linkage"], row["alpha"]), {"linkage": row["linkage"], "alpha": row["alpha"]}
        )
        if row["method"] != "red":
            point[row["method"]] = row["figures"]
            continue
        loss = better * (before[metric] - row["figures"]["red"][metric]) / before[metric]
        label = f"{row['linkage']} {row['alpha']:g}" if row["alpha"] else "unpruned"
        times = {engine: t[label] for engine, t in latency.items() if label in t}
        point |= {**row["figures"], "relative_loss": round(loss, 4), "latency": times}
    sweep = sorted(table.values(), key=lambda point: (point["linkage"], point["alpha"]))
    hashing = [{"budget": r["budget"], **r["figures"]} for r in mine if "budget" in r]
    splitting = [r["figures"] for r in mine if r.get("what") == "splitting"]
    unpruned = {
        engine: {which: t[which]["median_cpu_ms"] for which in ("original", "unpruned")}
        for engine, t in latency.items()
    }
    return {
        "metric": metric,
        "original": before,
        "sweep": sweep,
        "hashing": hashing,
        "splitting": splitting or "not measured",
        "latency_unpruned": unpruned or "not measured",
        "fastest_within_2_percent": fastest_allowed(sweep, unpruned),
    }


def fastest_allowed(sweep: list[dict[str, Any]], unpruned: dict[str, Any]) -> dict[str, Any]:
    """Per engine the fastest point whose loss is allowed: against eager torch, and unpruned."""
    best: dict[str, Any] = {}
    for engine in unpruned:
        allowed = [
            point
            for point in sweep
            if point.get("relative_loss", 1) <= ALLOWED and engine in point["latency"]
        ]
        if not allowed or "torch" not in unpruned:
            continue
        point = min(allowed, key=lambda point: point["latency"][engine]["median_cpu_ms"])
        mine = point["latency"][engine]
        eager = unpruned["torch"]["original"]
        best[engine] = {
            **{name: point[name] for name in ("linkage", "alpha", "relative_loss")},
            **mine,
            "faster_than_eager_torch": round(eager / mine["median_cpu_ms"], 3),
        }
    return best


if __name__ == "__main__":
    main()
