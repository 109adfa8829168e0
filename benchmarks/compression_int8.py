"""INT8 of the networks of `compression`, unpruned and pruned: what it costs, whether it is faster.

As `ros_xai prune --int8` does it, calibrated on images that it is not judged on; needs
ROS_XAI_DATA. Latencies on both engines that know INT8, on two threads, beside unpruned float32.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from benchmarks.compression_cases import NAMES, Case, case
from benchmarks.compression_times import ROUNDS, THREADS, in_blocks
from benchmarks.results import write
from ros_xai.cli.prune_tasks import Task
from ros_xai.compression import output_error, red
from ros_xai.engines.compile import to_onnx
from ros_xai.engines.int8 import quantize_int8, weight_bits
from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine
from ros_xai.engines.openvino_engine import OpenVinoEngine

ENGINES = {"onnxruntime": OnnxRuntimeEngine, "openvino": OpenVinoEngine}
POINTS: dict[str, dict[str, Any]] = {  # of RED
    "depth": {"linkage": "complete", "multiple": 16, "alpha": 0.1},
    "segmentation": {"linkage": "complete", "multiple": 1, "alpha": 0.004},
    "classifier": {"linkage": "complete", "multiple": 1, "alpha": 0.00003},
}


def graphs(one: Case) -> dict[str, bytes]:
    """The network in float32 and in INT8, and pruned in INT8."""
    task = one.task
    pruned = red(task.module, task.small, **POINTS[task.name])
    before, after = (
        to_onnx(task.deploy(module), task.signature) for module in (task.module, pruned.module)
    )
    seen = [task.named(x) for x in one.calibration]
    return {
        "unpruned": before,
        "int8": quantize_int8(before, seen),
        "pruned int8": quantize_int8(after, seen),
    }


def judged(task: Task, graph: bytes) -> dict[str, Any]:
    """Bytes and metric of a graph, and how far its outputs are from the network's, on OpenVINO."""
    before, after = task.engine(task.module, "openvino", 1), OpenVinoEngine(graph, 1)
    error = output_error(task.called(before), task.called(after), task.inputs[:2])
    return {
        "bytes_onnx": len(graph),
        task.metric: task.score(after),
        "output_error_relative": error.relative,
        "output_error_max": error.maximum,
        "output_error_mean": error.mean,
    }


def main(argv: list[str] | None = None) -> None:
    """Prints a line per network and writes docs/results/compression_int8.json."""
    parser = argparse.ArgumentParser(prog="ros_xai bench compression-int8", description=__doc__)
    parser.add_argument("--networks", default=",".join(NAMES), help="print only these, no JSON")
    arguments = parser.parse_args(argv)
    data = os.environ.get("ROS_XAI_DATA")
    if not data:
        parser.error("ROS_XAI_DATA must name the folder of real driving data")
    names, figures = arguments.networks.split(","), {}
    for network in names:
        torch.set_num_threads(1)
        one = case(network, Path(data))
        made = graphs(one)
        torch.set_num_threads(THREADS)
        figures[network] = {
            **{kind: judged(one.task, graph) for kind, graph in made.items()},
            "latency": {
                name: in_blocks(
                    {kind: engine(graph, THREADS) for kind, graph in made.items()},
                    one.task.named(one.task.example),
                )
                for name, engine in ENGINES.items()
            },
        }
        print(network, figures[network], flush=True)
    if set(names) == set(NAMES):
        meta = {"weight_bits": weight_bits(), "threads": THREADS, "rounds": ROUNDS}
        write("compression_int8", parser.prog, figures, **meta)


if __name__ == "__main__":
    main()
