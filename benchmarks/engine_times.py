"""Calls timed in turns, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results

WARM_UP = 5  # the first calls compile


def in_turns(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Median and 90 % of each call's wall time in ms over `rounds` turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return {name: _summary(1e3 * np.array(seconds)) for name, seconds in times.items()}


def report(
    name: str,
    calls: Mapping[str, Callable[[], Any]],
    engines: Mapping[str, str],
    rounds: int,
    threads: int,
) -> None:
    """Time the calls, print a JSON line for each and write docs/results/NAME.json."""
    figures = in_turns(calls, rounds)
    for what, times in figures.items():
        print(json.dumps({"what": what, **times}), flush=True)
    command = f"ros_xai bench {name.replace('_', '-')}"
    results.write(name, command, figures, engines=dict(engines), rounds=rounds, threads=threads)


def _summary(ms: NDArray[np.float64]) -> dict[str, float]:
    median, p90 = np.percentile(ms, [50, 90])
    return {"median_ms": round(float(median), 2), "p90_ms": round(float(p90), 2)}
