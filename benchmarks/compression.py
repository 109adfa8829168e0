"""RED and RED++ on trained networks: what they save, what they cost, whether it is faster.

The shipped depth network (KITTI, abs_rel), the shipped segmenter (CamVid, mIoU) and an ImageNet
classifier (EfficientNet-Lite0, top-1 agreement with itself); needs ROS_XAI_DATA. Sweeps of alpha
with magnitude pruning and random merging at the same parameters; RED++ beside RED at unchanged
outputs. Then the latency of every point on every engine, on two threads (`--only latency`, for a
machine that does nothing else). Can be interrupted and goes on where it stopped. INT8 is
`compression-int8`.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.compression_cases import NAMES, Case, case
from benchmarks.compression_summary import RIVALS, summarised
from benchmarks.compression_times import ENGINES, ROUNDS, THREADS, in_blocks
from benchmarks.results import write
from benchmarks.seeded import Finished
from ros_xai.cli.prune_tasks import Task
from ros_xai.compression import (
    hashed_network,
    l1_pruning,
    output_error,
    random_merging,
    red,
    red_pp,
)
from ros_xai.compression.pruning import PrunedModel
from ros_xai.compression.report import layer_costs, split_count
from ros_xai.compression.splitting import (
    SplitConv2d,
    affine_layers,
    split_multiplications,
    splittable,
)
from ros_xai.engines.base import Engine
from ros_xai.engines.compile import EngineName

Point = tuple[Any, int, float]  # linkage, multiple, alpha
SMALL: tuple[Point, ...] = (
    *(("connected", 1, alpha) for alpha in (0.0, 0.002, 0.1)),
    *(("complete", 1, alpha) for alpha in (0.004, 0.015, 0.03, 0.04, 0.06)),
    *(("complete", 16, alpha) for alpha in (0.08, 0.1, 0.12, 0.14, 0.17)),
)
# It is left with nothing at an alpha that costs the others little.
DEEP: tuple[Point, ...] = (
    *(("connected", 1, alpha) for alpha in (0.0, 0.00001, 0.0001)),
    *(("complete", 1, alpha) for alpha in (0.00001, 0.00003, 0.0001, 0.0005, 0.002)),
    ("complete", 16, 0.005),
)
POINTS = {"depth": SMALL, "segmentation": SMALL, "classifier": DEEP}
BUDGET = 0.1
SETTINGS = (5,)


def score(task: Task, module: Any) -> float:
    """The metric, on OpenVINO and real images."""
    return task.score(_engine(task, module))


def _engine(task: Task, module: Any) -> Engine:
    return task.engine(getattr(module, "module", module), "openvino", 1)


def judged(one: Case, module: Any) -> dict[str, Any]:
    """Metric, and error of the outputs in torch, on real images; what alpha is chosen by."""
    task = one.task
    error = output_error(task.module, module, task.inputs[:2])
    return {
        task.metric: score(task, module),
        "output_error_relative": error.relative,
        "output_error_max": error.maximum,
        "output_error_mean": error.mean,
        "chosen_by": one.choose(_engine(task, module)),
    }


def sizes(task: Task, pruned: PrunedModel) -> dict[str, Any]:
    """Of the report; operations of a call of the usual size."""
    report = pruned.report.figures()
    names = ("parameters", "distinct", "bytes", "packed_bytes")
    before = ("parameters_before", "distinct_before", "bytes_before")
    layers = affine_layers(pruned.module)
    costs = layer_costs(pruned.module, task.example)
    return {
        **{name: report[name] for name in (*names, *before)},
        "macs": sum(cost.macs for cost in costs.values()),
        "multiplications": sum(split_count(layers[n], c.positions) for n, c in costs.items()),
        "macs_before": sum(cost.macs for cost in layer_costs(task.module, task.example).values()),
    }


@lru_cache(maxsize=20)
def _pruned(task: Task, point: Point) -> PrunedModel:
    linkage, multiple, alpha = point
    return red(task.module, task.small, alpha, linkage=linkage, multiple=multiple)


def sweep_point(one: Case, point: Point) -> dict[str, Any]:
    """RED at one alpha."""
    pruned = _pruned(one.task, point)
    return {"figures": {"sizes": sizes(one.task, pruned), "red": judged(one, pruned)}}


def rival(task: Task, point: Point, method: str) -> dict[str, Any]:
    """Another method at the same parameters."""
    pruned = _pruned(task, point)
    if method == "l1":
        other = l1_pruning(task.module, task.small, pruned)
    else:
        other = random_merging(task.module, task.small, pruned, int(method.split()[1]))
    assert other.report.parameters == pruned.report.parameters
    error = output_error(task.module, other, task.inputs[:2])
    figures = {task.metric: score(task, other), "output_error_relative": error.relative}
    return {"figures": figures}


def red_pp_beside_red(task: Task, budget: float) -> dict[str, Any]:
    """Hashed within a budget, nothing approximate merged: multiplications of RED and of RED++.

    The outputs compared are those of every layer split that has equal kernels, as it runs.
    """
    pruned = red(task.module, task.small, error_budget=budget)
    hashed = hashed_network(task.module, error_budget=budget)
    split = split_everywhere(pruned.module)
    found = sizes(task, pruned)
    return {
        "figures": {
            "sizes": found,
            "red_multiplications": found["macs"],
            "red++_multiplications": found["multiplications"],
            "layers_split": sum(isinstance(layer, SplitConv2d) for layer in split.modules()),
            "error_relative_to_hashed": output_error(hashed, split, [task.small]).relative,
            task.metric: score(task, pruned),
        }
    }


def split_everywhere(module: nn.Module) -> nn.Module:
    """A copy in which every convolution with equal kernels applies each of them once."""
    module = copy.deepcopy(module)
    for name, layer in affine_layers(module).items():
        if splittable(layer) and split_multiplications(layer) < layer.weight.numel():
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, SplitConv2d(layer))
    return module


def latencies(task: Task, engine: EngineName) -> dict[str, Any]:
    """Wall milliseconds of every point on one engine, beside the original on it and on torch.

    "unpruned" is folded and hashed like the points, so that folding is not taken for pruning.
    """
    modules = {"original": task.module, "unpruned": hashed_network(task.module)}
    modules |= {_label(p): _pruned(task, p).module for p in POINTS[task.name] if p[2]}
    engines = {name: task.engine(module, engine, THREADS) for name, module in modules.items()}
    engines["eager torch"] = task.engine(task.module, "torch")
    return {"figures": in_blocks(engines, task.named(task.example))}


def _label(point: Point) -> str:
    return "{} {} {:g}".format(*point)


def splitting_latency(task: Task) -> dict[str, Any]:
    """Of every convolution split within an error budget: how many are faster than before."""
    report = red_pp(task.module, task.example, error_budget=BUDGET).report
    tried = [layer.milliseconds for layer in report.layers if len(layer.milliseconds or {}) > 1]
    ratios = [
        min(ms for form, ms in each.items() if form != "original") / each["original"]
        for each in tried
        if each
    ]
    faster = sum(layer.form != "original" for layer in report.layers)
    typical = statistics.median(ratios) if ratios else None
    return {"figures": {"tried": len(tried), "faster": faster, "median_time_ratio": typical}}


def main(argv: list[str] | None = None) -> None:
    """Runs what is not finished yet, prints one JSON line per result, writes what is finished."""
    parser = argparse.ArgumentParser(prog="ros_xai bench compression", description=__doc__)
    parser.add_argument("--only", choices=("figures", "latency"), help="not the other")
    parser.add_argument("--networks", default=",".join(NAMES), help="of depth, segmentation, ...")
    parser.add_argument("--write", action="store_true", help="only write what is finished")
    arguments = parser.parse_args(argv)
    data = os.environ.get("ROS_XAI_DATA")
    if not data:
        parser.error("ROS_XAI_DATA must name the folder of real driving data")
    done = Finished("compression", SETTINGS)
    for name in () if arguments.write else arguments.networks.split(","):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        one = case(name, Path(data))
        if arguments.only != "latency":
            _judge(one, done)
        if arguments.only != "figures":
            torch.set_num_threads(THREADS)
            _measure(one, done)
    summary = {name: summarised(name, done) for name in NAMES}
    write("compression", "ros_xai bench compression", summary, threads=THREADS, rounds=ROUNDS)


def _judge(one: Case, done: Finished) -> None:
    """The sweep with its rivals, and RED++ beside RED; on one thread."""
    task = one.task
    key = {"network": task.name}
    done.get({**key, "what": "original"}, lambda: {"figures": judged(one, task.module)})
    done.get({**key, "budget": BUDGET}, partial(red_pp_beside_red, task, BUDGET))
    for point in POINTS[task.name]:
        at = {**key, **dict(zip(("linkage", "multiple", "alpha"), point))}
        done.get({**at, "method": "red"}, partial(sweep_point, one, point))
        for other in RIVALS if point[2] else ():
            done.get({**at, "method": other}, partial(rival, task, point, other))
    done.get({**key, "what": "splitting"}, partial(splitting_latency, task))


def _measure(one: Case, done: Finished) -> None:
    key = {"network": one.task.name}
    for engine in ENGINES:
        compute = partial(latencies, one.task, engine)
        done.get({**key, "what": "latency", "engine": engine}, compute)


if __name__ == "__main__":
    main()
