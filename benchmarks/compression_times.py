"""Latencies of many networks on one engine, in blocks that take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ros_xai.engines.base import Engine, warm_up
from ros_xai.engines.compile import ENGINE_NAMES

ENGINES = ENGINE_NAMES
THREADS = 2
ROUNDS, BLOCK = 30, 3
PAUSE_S = 0.03  # ONNX Runtime's threads wait actively for a next call before they sleep


def in_blocks(
    engines: Mapping[str, Engine], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, dict[str, float]]:
    """Median wall milliseconds of a call; how many times as fast as "unpruned" and "eager torch".

    In every round each engine has a turn of a pause, one call that does not count and a few that
    do; the ratios are medians over the rounds of the turns' medians.
    """
    for engine in engines.values():
        warm_up(engine, inputs)
    turns: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            time.sleep(PAUSE_S)
            engine(inputs)
            calls = []
            for _ in range(BLOCK):
                begun = time.perf_counter()
                engine(inputs)
                calls.append((time.perf_counter() - begun) * 1e3)
            turns[name].append(statistics.median(calls))
    found = {}
    for name, mine in turns.items():
        found[name] = {"median_ms": round(statistics.median(mine), 3)}
        for reference in ("unpruned", "eager torch"):
            if reference in turns:
                ratio = statistics.median(a / b for a, b in zip(turns[reference], mine))
                found[name][f"faster_than_{reference.replace(' ', '_')}"] = round(ratio, 3)
    return found
