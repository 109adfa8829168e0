"""Time of one segmentation frame on each CPU engine: `ros_xai bench segmentation-engines`.

The shipped network on a 240x320 image; the engines take turns.
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
from ros_xai.engines.compile import ENGINE_NAMES
from ros_xai.segmentation.segmenter import Segmenter


def main(argv: list[str]) -> None:
    """Entry of `ros_xai bench segmentation-engines`."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    app(argv, standalone_mode=False)


def run(rounds: int = 200, threads: int = 2) -> None:
    """Measure network and whole frame; write docs/results/segmentation_engines.json."""
    torch.set_num_threads(threads)
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
    inputs = {"image": pixels / np.float32(255)}
    segmenters = {name: Segmenter.load(engine=name, threads=threads) for name in ENGINE_NAMES}
    calls: dict[str, Callable[[], Any]] = {}
    for name, segment in segmenters.items():
        calls[f"{name}.network"] = partial(segment.engine, inputs)
        calls[f"{name}.frame"] = partial(segment, image)
    engines = {name: each.engine.name for name, each in segmenters.items()}
    report("segmentation_engines", calls, engines, rounds, threads)


if __name__ == "__main__":
    main(sys.argv[1:])
