"""Forty short bags under two configurations: on this machine, on two Ray nodes, through failures.

Thirty drives of the world in five looks and ten pieces of the KITTI clip of ROS_XAI_DATA, six
frames each. The run on the local engine is interrupted and resumed; on Ray a node is killed,
another one joins, and the run is interrupted and resumed, too. Then: are the rows identical, each
there once; does the comparison find the beams that one configuration lacks, and nothing between
equals; are broken bags reported; what do two workers give over one. About 18 minutes of one core.
The steps `scaling` and `lengths` are timings and want a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import results
from benchmarks.fleet_bags import DOMAINS, DRIVES, FOLDER, FRAMES, LONG, bags, long_bags, pieces
from benchmarks.seeded import Finished
from ros_xai.fleet.tables import COMPARED, SCHEMAS
from ros_xai.replay.bag import Bag
from ros_xai.world.bag_writer import BagWriter

COMMAND = "ros_xai bench fleet"
# Rings of the world's four-beam sensor are 0..3, those of KITTI's 8, 24, 40, 56.
CONFIGS = {
    "all_beams": "depth: {ros__parameters: {rings: []}}\n",
    "two_beams": "depth: {ros__parameters: {rings: [0, 3, 8, 56]}}\n",
    "equal": "# the same as all_beams\ndepth: {ros__parameters: {rings: []}}\n",
}
EVALUATE = [sys.executable, "-c", "from ros_xai.cli import app; app()", "evaluate"]
ENVIRONMENT = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "100"}


def configs(*names: str) -> list[str]:
    """Options for configurations, whose files are written."""
    options = []
    for name in names:
        path = FOLDER / f"{name}.yaml"
        path.write_text(CONFIGS[name])
        options += ["--config", str(path)]
    return options


class Run:
    """`ros_xai evaluate` as a process; `events` happen when so many tasks are done."""

    def __init__(self, out: Path, *arguments: str) -> None:
        self.out = out
        self.command = [*EVALUATE, *arguments, "--out", str(out)]

    def done(self) -> int:
        """Finished tasks."""
        return len(list((self.out / "bags").glob("*.parquet")))

    def go(self, *events: tuple[int, Callable[[subprocess.Popen[bytes]], None]]) -> dict[str, Any]:
        """Run it to its end; the exit code, wall seconds, and the tasks done before and after."""
        before, started, left = self.done(), time.perf_counter(), list(events)
        process = subprocess.Popen(self.command, env=ENVIRONMENT, preexec_fn=_hears_interrupts)
        while process.poll() is None:
            if left and self.done() >= left[0][0]:
                left.pop(0)[1](process)
            time.sleep(0.05)
        wall_s = round(time.perf_counter() - started, 1)
        return {
            "exit_code": process.returncode,
            "wall_s": wall_s,
            "done_before": before,
            "done_after": self.done(),
        }


def _hears_interrupts() -> None:
    """What a shell starts in the background ignores them, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C."""
    process.send_signal(signal.SIGINT)


def on_local(manifest: Path) -> dict[str, Any]:
    """Interrupted after 25 tasks, then resumed."""
    run = Run(FOLDER / "local", str(manifest), *configs("all_beams", "two_beams"), "--jobs", "2")
    return {"interrupted": run.go((25, interrupt)), "resumed": run.go()}


def on_ray(manifest: Path) -> dict[str, Any]:
    """Two nodes of one core: after some tasks one is killed, later one joins, then an interrupt."""
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 128 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    worker = cluster.add_node(num_cpus=1, object_store_memory=128 << 20)
    options = ["--engine", "ray", "--address", cluster.address]
    run = Run(FOLDER / "ray", str(manifest), *configs("all_beams", "two_beams"), *options)

    def kill(process: subprocess.Popen[bytes]) -> None:
        cluster.remove_node(worker, allow_graceful=False)

    def join(process: subprocess.Popen[bytes]) -> None:
        cluster.add_node(num_cpus=1, object_store_memory=128 << 20)

    try:
        first = run.go((15, kill), (25, join), (50, interrupt))
        return {"node_killed_then_interrupted": first, "resumed": run.go()}
    finally:
        cluster.shutdown()


def rows(folder: Path) -> dict[str, Any]:
    """How many rows each table has, and how many keys of tasks, each in one part file."""
    found: dict[str, Any] = {}
    for table in SCHEMAS:
        parts = [pq.read_table(path) for path in (folder / table).glob("*.parquet")]
        found[table] = sum(len(part) for part in parts)
    keys = [key for path in (folder / "bags").glob("*.parquet") for key in _keys(path)]
    return {"rows": found, "tasks": len(keys), "distinct_tasks": len(set(keys))}


def _keys(path: Path) -> list[str]:
    return pq.read_table(path, columns=["key"])["key"].to_pylist()


def identical(ours: Path, theirs: Path) -> dict[str, bool]:
    """Whether the tasks of `theirs` have the same rows in `ours`, table by table."""
    same = {}
    for table in COMPARED:
        a, b = ({p.name: p for p in (f / table).glob("*.parquet")} for f in (ours, theirs))
        same[table] = bool(b) and all(
            name in a and pq.read_table(a[name]).equals(pq.read_table(b[name])) for name in b
        )
    return same


def compared() -> dict[str, Any]:
    """The rows of both engines, which have the same tasks."""
    local, ray = FOLDER / "local", FOLDER / "ray"
    same = identical(local, ray)
    return {"identical": same, "local": rows(local), "ray": rows(ray)}


def verdicts(manifest: Path) -> dict[str, Any]:
    """What the comparison calls the planted regression, and two equals."""
    planted = json.loads((FOLDER / "local" / "verdict.json").read_text())["comparisons"]
    run = Run(FOLDER / "local", str(manifest), *configs("all_beams", "equal"), "--jobs", "2")
    ended = run.go()
    equal = json.loads((FOLDER / "local" / "verdict.json").read_text())["comparisons"]
    whole = next(c for c in planted if c["metric"] == "abs_rel" and not c["slice"])
    return {
        "planted": {**_counted(planted), "abs_rel": whole},
        "equal": {**ended, **_counted(equal)},
    }


def broken_bags() -> dict[str, Any]:
    """One cut off, one without an image, one of noise, one whole: what is said of them."""
    folder = FOLDER / "broken"
    folder.mkdir(exist_ok=True)
    whole = FOLDER / "bags" / "kitti_0.mcap"
    (folder / "whole.mcap").write_bytes(whole.read_bytes())
    (folder / "truncated.mcap").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    (folder / "noise.mcap").write_bytes(b"no bag at all" * 100)
    with BagWriter(folder / "no_camera.mcap") as bag:
        for record in Bag(whole).records():
            if not record.topic.startswith("/camera"):
                bag.cdr(record.topic, record.type, record.data, record.log_ns)
    ended = Run(FOLDER / "out-broken", str(folder), *configs("all_beams")).go()
    verdict = json.loads((FOLDER / "out-broken" / "verdict.json").read_text())
    said = {p["bag"]: p["problem"].replace(str(folder), "") for p in verdict["problems"]}
    return {"exit_code": ended["exit_code"], "problems": said}


def scaling() -> dict[str, Any]:
    """The pieces of the KITTI clip with one worker and with two."""
    chosen = [str(path) for path in pieces()]
    found: dict[str, Any] = {"bags": len(chosen), "frames_per_bag": FRAMES}
    for jobs in (1, 2):
        out = FOLDER / f"scaling-{jobs}"
        ended = Run(out, *chosen, *configs("all_beams"), "--jobs", str(jobs)).go()
        found[f"{jobs}_workers"] = {"wall_s": ended["wall_s"], **_timings(out)}
    found["speed_up"] = round(found["1_workers"]["wall_s"] / found["2_workers"]["wall_s"], 2)
    return found


def _counted(comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    """How many comparisons have which verdict, and the one that leads the report."""
    verdicts = [c["verdict"] for c in comparisons]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    return {"verdicts": counts, "first_of_report": comparisons[0]}


def lengths() -> dict[str, Any]:
    """What a task costs by its frames: a fixed part and a slope, from a short and a long bag."""
    out = FOLDER / "out-long"
    Run(out, str(long_bags()), *configs("all_beams"), "--jobs", "1").go()
    parts = [pq.read_table(path).to_pylist()[0] for path in (out / "timings").glob("*.parquet")]
    by_bag = {part["bag"]: part for part in parts}
    found = {}
    for kind, size in (("world", "640x192"), ("kitti", "1242x375")):
        short, long = by_bag[f"{kind}_{FRAMES}"], by_bag[f"{kind}_{LONG}"]
        slopes = {
            name: (long[name] - short[name]) / (LONG - FRAMES)
            for name in ("cpu_s", "total_s", "bag_bytes", "scratch_bytes", "row_bytes")
        }
        found[size] = {
            "cpu_s_per_frame": round(slopes["cpu_s"], 4),
            "cpu_s_fixed": round(short["cpu_s"] - slopes["cpu_s"] * FRAMES, 2),
            "wall_s_per_frame": round(slopes["total_s"], 4),
            "wall_s_fixed": round(short["total_s"] - slopes["total_s"] * FRAMES, 2),
            "bag_kB_per_frame": round(slopes["bag_bytes"] / 1e3, 1),
            "scratch_kB_per_frame": round(slopes["scratch_bytes"] / 1e3, 1),
            "row_kB_per_frame": round(slopes["row_bytes"] / 1e3, 2),
            "row_kB_fixed": round((short["row_bytes"] - slopes["row_bytes"] * FRAMES) / 1e3, 1),
            "max_rss_mb": round(long["max_rss_mb"]),
        }
    return found


def _timings(out: Path) -> dict[str, Any]:
    parts = [pq.read_table(path).to_pylist()[0] for path in (out / "timings").glob("*.parquet")]
    mean = {
        name: round(sum(part[name] for part in parts) / len(parts), 2)
        for name in ("startup_s", "replay_s", "judge_s", "total_s", "cpu_s")
    }
    return {"tasks": len(parts), "mean_per_task": mean}


STEPS = (
    "scaling",
    "lengths",
    "local",
    "ray",
    "rows",
    "verdicts",
    "broken",
)


def main() -> None:
    """Run the steps that are not done yet; docs/results/fleet.json holds those that are done."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="only these")
    chosen = parser.parse_args().steps
    finished = Finished("fleet", (FRAMES, DRIVES, DOMAINS, CONFIGS))
    steps: dict[str, Callable[[], dict[str, Any]]] = {
        "scaling": scaling,
        "lengths": lengths,
        "local": lambda: on_local(bags()),
        "ray": lambda: on_ray(bags()),
        "rows": compared,
        "verdicts": lambda: verdicts(bags()),
        "broken": broken_bags,
    }
    for name in chosen:
        finished.get({"step": name}, steps[name])
    plain = ("step", "settings")
    done = {
        result["step"]: {k: v for k, v in result.items() if k not in plain}
        for result in finished.results
        if result["settings"] == finished.settings
    }
    figures = {name: done[name] for name in steps if name in done}
    data = f"{DRIVES} drives of the world at 160x48, {60 // FRAMES} pieces of a KITTI clip"
    meta = {"data": data, "frames_per_bag": FRAMES, "seeds": "100..129"}
    meta["steps_not_run"] = [name for name in steps if name not in done]
    results.write("fleet", COMMAND, figures, **meta)


if __name__ == "__main__":
    main()
