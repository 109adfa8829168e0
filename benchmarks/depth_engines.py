"""Time of one depth frame on each CPU engine: `ros_xai bench depth-engines`.

The shipped network on a 192x640 image with four beams; the engines take turns, so that whatever
else the machine does slows all of them alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import typer

from benchmarks.engine_times import report
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.engines.compile import ENGINE_NAMES

INTRINSICS = np.array([[370.0, 0, 319.5], [0, 370, 95.5], [0, 0, 1]])


def main(argv: list[str]) -> None:
    """Entry of `ros_xai bench depth-engines`."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    app(argv, standalone_mode=False)


def run(rounds: int = 100, threads: int = 2) -> None:
    """Measure network and whole frame; write docs/results/depth_engines.json."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (192, 640, 3), dtype=np.uint8)
    sparse = np.zeros((192, 640), dtype=np.float32)
    for row, depth in ((100, 40.0), (125, 20.0), (150, 11.0), (180, 7.0)):
        sparse[row, ::2] = depth
    inputs = {
        "image": rng.random((1, 3, 192, 640), dtype=np.float32),
        "geometry": rng.random((1, 4, 192, 640), dtype=np.float32),
    }
    estimators = {name: DepthEstimator.load(engine=name, threads=threads) for name in ENGINE_NAMES}
    calls: dict[str, Callable[[], Any]] = {}
    for name, estimator in estimators.items():
        calls[f"{name}.network"] = partial(estimator.engine, inputs)
        calls[f"{name}.frame"] = partial(estimator, image, sparse, INTRINSICS)
    engines = {name: each.engine.name for name, each in estimators.items()}
    report("depth_engines", calls, engines, rounds, threads)


if __name__ == "__main__":
    main(sys.argv[1:])
