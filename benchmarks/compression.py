"""RED and RED++ on trained networks: what they save, what they cost, whether it is faster.

The shipped depth network (KITTI, abs_rel), the shipped segmenter (CamVid, mIoU) and an ImageNet
classifier (EfficientNet-Lite0 on photographs and street scenes, top-1 agreement with itself);
needs ROS_XAI_DATA. `sweep`: alpha over both linkages, with magnitude pruning and random merging
at the same parameters. `hashing`: error budgets at alpha 0, RED beside RED++. Then the latency of
every point of the sweep on every engine, in paired rounds on two threads: run that part on a
quiet machine (`--latency`); the rest can be interrupted and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
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

ALPHAS = {"connected": (0.0, 0.002, 0.1), "complete": (0.004, 0.015, 0.03, 0.06)}
BUDGETS = (0.03, 0.1)
SEEDS = 2  # of random merging
ENGINES = ("torch", "onnxruntime", "openvino")
ROUNDS, THREADS = 25, 2
ALLOWED = 0.02  # relative loss of the metric
SETTINGS = (SEEDS, 2)


def judged(case: Task, module: Any) -> dict[str, float]:
    """Metric on OpenVINO and error of the outputs in torch, on real images."""
    error = output_error(case.module, module, case.inputs[:4])
    return {
        case.metric: case.score(case.engine(getattr(module, "module", module), "openvino", 1)),
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


def sweep_point(case: Task, linkage: Any, alpha: float) -> dict[str, Any]:
    """RED at one alpha, and its rivals at the same parameters."""
    pruned = red(case.module, case.small, alpha, linkage=linkage)
    found: dict[str, Any] = {"sizes": sizes(case, pruned), "red": judged(case, pruned)}
    if alpha:
        found["l1"] = judged(case, l1_pruning(case.module, case.small, pruned))
        found["random"] = [
            judged(case, random_merging(case.module, case.small, pruned, seed))
            for seed in range(SEEDS)
        ]
    return {"figures": found}


def hashing_point(case: Task, budget: float) -> dict[str, Any]:
    """Hashing within a budget: distinct values, and multiplications after input splitting."""
    pruned = red(case.module, case.small, error_budget=budget)
    same = output_error(hashed_network(case.module, error_budget=budget), pruned, case.inputs[:4])
    found = {"sizes": sizes(case, pruned), "red++": judged(case, pruned)}
    return {"figures": {**found, "relative_to_hashed": same.relative}}


def original(case: Task) -> dict[str, Any]:
    return {"figures": judged(case, case.module)}


def latencies(case: Task, points: list[tuple[Any, float]]) -> dict[str, Any]:
    """Median ms of the original and of every point, per engine, and the paired ratios.

    "unpruned" is RED at alpha 0: folded and hashed, so that folding is not taken for pruning.
    """
    modules: dict[str, torch.nn.Module] = {"original": case.module}
    modules["unpruned"] = red(case.module, case.small).module
    for linkage, alpha in points:
        pruned = red(case.module, case.small, alpha, linkage=linkage)
        modules[f"{linkage} {alpha:g}"] = pruned.module
    inputs = case.named(case.example)
    found: dict[str, Any] = {}
    for engine in ENGINES:
        engines = {n: case.engine(m, engine, THREADS) for n, m in modules.items()}
        times: dict[str, list[float]] = {name: [] for name in engines}
        for turn in range(ROUNDS + 3):
            for name, run in engines.items():
                begun = time.perf_counter()
                run(inputs)
                if turn >= 3:
                    times[name].append((time.perf_counter() - begun) * 1e3)
        found[engine] = {
            name: {
                "median_ms": round(statistics.median(mine), 3),
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
    """Runs what is not finished yet, prints one JSON line per result, writes the summary."""
    parser = argparse.ArgumentParser(prog="ros_xai bench compression", description=__doc__)
    parser.add_argument("--latency", action="store_true", help="measure times (quiet machine)")
    parser.add_argument("--networks", default=",".join(NAMES), help="of depth, segmentation, ...")
    arguments = parser.parse_args(argv)
    data = os.environ.get("ROS_XAI_DATA")
    if not data:
        parser.error("ROS_XAI_DATA must name the folder of real driving data")
    torch.set_num_threads(THREADS if arguments.latency else 1)
    done = Finished("compression", SETTINGS)
    summary: dict[str, Any] = {}
    for name in arguments.networks.split(","):
        torch.manual_seed(0)
        case = task(name, Path(data))
        points = [(linkage, a) for linkage, alphas in ALPHAS.items() for a in alphas]
        key = {"network": name}
        if arguments.latency:
            pruned = [(linkage, a) for linkage, a in points if a]
            done.get({**key, "what": "latency"}, partial(latencies, case, pruned))
            done.get({**key, "what": "splitting"}, partial(splitting_latency, case))
        before = done.get({**key, "what": "original"}, partial(original, case))["figures"]
        rows = [
            done.get(
                {**key, "linkage": linkage, "alpha": a}, partial(sweep_point, case, linkage, a)
            )
            for linkage, a in points
        ]
        hashing = [
            done.get({**key, "budget": budget}, partial(hashing_point, case, budget))
            for budget in BUDGETS
        ]
        summary[name] = summarised(case, before, rows, hashing, done)
    if set(arguments.networks.split(",")) == set(NAMES):
        write(
            "compression", "ros_xai bench compression", summary, seeds=SEEDS, threads=THREADS,
            rounds=ROUNDS,
        )  # fmt: skip


def summarised(
    case: Task, before: Any, rows: list[Any], hashing: list[Any], done: Finished
) -> dict[str, Any]:
    """The table of one network, and the fastest point within the allowed loss."""
    timed = {
        result["what"]: result["figures"]
        for result in done.results
        if result.get("network") == case.name
        and result.get("what") in ("latency", "splitting")
        and result["settings"] == done.settings
    }
    latency = timed.get("latency", {})
    table = []
    for row in rows:
        figures = row["figures"]
        loss = case.loss(before[case.metric], figures["red"][case.metric])
        name = f"{row['linkage']} {row['alpha']:g}"
        times = {engine: t.get(name, t["unpruned"]) for engine, t in latency.items()}
        point = {"linkage": row["linkage"], "alpha": row["alpha"], "relative_loss": round(loss, 4)}
        table.append({**point, **figures, "latency": times or "not measured"})
    found: dict[str, Any] = {
        "metric": case.metric,
        "original": before,
        "sweep": table,
        "hashing": [{"budget": row["budget"], **row["figures"]} for row in hashing],
        "splitting": timed.get("splitting", "not measured"),
    }
    if latency:
        found["latency_unpruned"] = {
            engine: {name: t[name]["median_ms"] for name in ("original", "unpruned")}
            for engine, t in latency.items()
        }
        found["claim"] = claim(table, latency)
    return found


def claim(table: list[dict[str, Any]], latency: dict[str, Any]) -> dict[str, Any]:
    """The fastest point whose loss is allowed: against eager torch, and against unpruned."""
    eager = latency["torch"]["original"]["median_ms"]
    best: dict[str, Any] = {}
    for engine in latency:
        allowed = [row for row in table if row["relative_loss"] <= ALLOWED]
        if not allowed:
            continue
        row = min(allowed, key=lambda row: row["latency"][engine]["median_ms"])
        mine = row["latency"][engine]
        best[engine] = {
            "linkage": row["linkage"],
            "alpha": row["alpha"],
            "relative_loss": row["relative_loss"],
            "median_ms": mine["median_ms"],
            "faster_than_eager_torch": round(eager / mine["median_ms"], 3),
            "faster_than_unpruned": mine["faster_than_unpruned"],
        }
    return best


if __name__ == "__main__":
    main()
