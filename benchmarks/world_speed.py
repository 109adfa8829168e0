"""Speed of the synthetic world: frames with all ground truth, a demo bag, forecasting windows.

`ros_xai bench world-speed`. The two frame sizes take turns, so that what else the machine does
falls on both; medians over the rounds. CPU seconds are given beside, which a loaded machine does
not inflate as much.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import typer

from benchmarks import results
from benchmarks.seeded import Finished
from ros_xai.world.bag import BagConfig, write_bag
from ros_xai.world.camera import Camera
from ros_xai.world.dataset import PRESETS, WORLD_VERSION, DatasetConfig, write_dataset
from ros_xai.world.domains import domain
from ros_xai.world.drive import cached_drive
from ros_xai.world.lidar import Lidar

SIZES = {"320x96": (320, 96), "640x192": (640, 192)}
REQUIRED = {"320x96": 8.0, "640x192": 3.0}  # frames/s
JOBS = 2
DRIVE = (4, 12.0, "town")


def main(argv: list[str]) -> None:
    """Entry of `ros_xai bench world-speed`."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    app(argv, standalone_mode=False)


def run(rounds: int = 5, frames: int = 40, quick: bool = False) -> None:
    """Measure and write docs/results/world_speed.json; finished parts are not repeated."""
    rounds, frames = (2, 4) if quick else (rounds, frames)
    name = "world_speed_quick" if quick else "world_speed"
    finished = Finished(name, (WORLD_VERSION, rounds, frames))
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
        figures = [finished.get({"part": "frames"}, lambda: _frames(pool, rounds, frames))]
    figures.append(finished.get({"part": "bag"}, lambda: _bag(2.0 if quick else 10.0)))
    figures.append(finished.get({"part": "windows"}, lambda: _windows(1 if quick else 2)))
    if not quick:
        command = f"ros_xai bench world-speed --rounds {rounds} --frames {frames}"
        results.write("world_speed", command, figures, processes=JOBS)


@contextmanager
def _clock(into: dict[str, Any]) -> Iterator[None]:
    """Wall and CPU seconds (children included once they have ended), and the load around them."""
    started, cpu = time.perf_counter(), _cpu()
    yield
    into["seconds"] = round(time.perf_counter() - started, 2)
    into["cpu_seconds"] = round(_cpu() - cpu, 2)
    into["load"] = round(os.getloadavg()[0], 1)


def _cpu() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _frame(size: str, step: int) -> float:
    """Image, depth, labels, instances and a LiDAR sweep of a step; returns its CPU seconds."""
    started = time.process_time()
    run, look = cached_drive(*DRIVE), domain("clear")
    width, height = SIZES[size]
    surfaces = run.surfaces(step)
    frame = run.frame(step, Camera(width=width, height=height), look, surfaces)
    run.image(frame, step, look, 1.0)
    run.sweep(step, Lidar(field_of_view=90.0), surfaces)
    return time.process_time() - started


def _frames(pool: ProcessPoolExecutor, rounds: int, frames: int) -> dict[str, Any]:
    steps = np.linspace(0, 119, frames).astype(int).tolist()
    list(pool.map(_frame, ["320x96"] * 8, range(8)))  # every process builds its town
    rates: dict[str, list[float]] = {size: [] for size in SIZES}
    spent: dict[str, list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size in SIZES:
            started = time.perf_counter()
            spent[size] += list(pool.map(_frame, [size] * frames, steps))
            rates[size].append(frames / (time.perf_counter() - started))
    return {
        "load": round(os.getloadavg()[0], 1),
        **{
            size: {
                "frames_per_second": round(median(rates[size]), 2),
                "required": REQUIRED[size],
                "cpu_seconds_per_frame": round(median(spent[size]), 3),
                "rounds": [round(r, 2) for r in rates[size]],
            }
            for size in SIZES
        },
    }


def _bag(seconds: float) -> dict[str, Any]:
    figures: dict[str, Any] = {"bag_seconds": seconds, "required_seconds": 60.0}
    with tempfile.TemporaryDirectory() as folder, _clock(figures):
        path = write_bag(replace(BagConfig(), seconds=seconds), Path(folder) / "a.mcap", JOBS)
        figures["megabytes"] = round(path.stat().st_size / 1e6, 1)
    return figures


def _windows(sequences: int) -> dict[str, Any]:
    """Time for at least 20,000 windows of 2 s history and 6 s future, one every 0.5 s."""
    preset = {**PRESETS["forecasting"], "sequences": sequences}
    config = DatasetConfig(**{"kind": "forecasting", **preset})
    figures: dict[str, Any] = {"required_windows": 20000, "required_seconds": 300.0}
    with tempfile.TemporaryDirectory() as folder, _clock(figures):
        write_dataset(config, Path(folder), JOBS)
        figures["windows"] = sum(count_windows(p) for p in Path(folder).glob("*.npz"))
    return figures


def count_windows(path: Path) -> int:
    """Windows at 2 Hz of agents that move at least 2 m in the 6 s to come."""
    with np.load(path) as data:
        xy = data["xy"][::5]
    now, later = xy[4:-12], xy[16:]
    moved = np.linalg.norm(later - now, axis=2) > 2.0
    whole = ~np.isnan(xy[:-16]).any(axis=2)  # tracks have no gaps: both ends are enough
    return int((moved & whole & ~np.isnan(later).any(axis=2)).sum())


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
