"""Twenty minutes at 10 Hz, then faults: memory, lifecycle, exceptions, recovery, losses.

    ros_xai bench soak                # about 27 minutes
    ros_xai bench soak --minutes 0.5  # a try; writes nothing

The soak runs the nodes in one process; the faults hit one process for each node, supervised with
respawn. Recovery is from the fault's end (of a kill: the kill) to the first answer to an image
published after it; losses are images published between the fault's begin and that answer that
were never answered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import car as cars
from benchmarks import onboard, results

RATE = 10.0
SAMPLE_S = 5.0
DROPOUT_S = 5.0
KILLED_S = 40.0  # longest wait for a killed node
SETTLED_S = 3.0
ROWS = Path("out/bench/soak_faults.jsonl")


def soak(
    frames: Any, parameters: dict[str, Any], nodes: list[str], minutes: float, scratch: Path
) -> dict[str, Any]:
    """The long drive."""
    car = cars.Car(frames)
    try:
        with onboard.running(car, parameters, nodes, False, scratch) as perception:
            car.drive(10, RATE)
            car.reports.clear()
            (meter,) = perception.usages().values()
            due = time.monotonic()

            def sample() -> None:
                nonlocal due
                if time.monotonic() >= due:
                    due = time.monotonic() + SAMPLE_S
                    meter.sample()

            trace = car.drive(60 * minutes, RATE, sample)
            reports = dict(car.reports)
            figures = {
                "minutes": minutes,
                "memory": memory(meter.rss_mib, minutes),
                "cpu_percent_of_a_core": meter.figures()["cpu_percent_of_a_core"],
                "states_reported": reports,
                "exceptions_in_log": perception.exceptions(),
                "drops": {
                    node: {k: int(v) for k, v in car.values(node).items() if k.startswith("drops.")}
                    for node in nodes
                },
                **{node: trace.summary(node) for node in nodes if node != "explanation"},
            }
            if "explanation" in nodes:
                figures["explanation"] = {"heatmaps": trace.counts["explanation"]}
            restarts = perception.log.read_text().count("started as process") - 1
            figures["restarts"] = restarts
            code, seconds = perception.stop()
            figures["stop"] = {"exit_code": code, "seconds": round(seconds, 2)}
            return figures
    finally:
        car.close()


def memory(rss_mib: list[float], minutes: float) -> dict[str, Any]:
    """Growth between the median of a tenth after a tenth of the time and that of the last tenth."""
    tenth = max(len(rss_mib) // 10, 1)
    early, late = np.median(rss_mib[tenth : 2 * tenth]), np.median(rss_mib[-tenth:])
    every = max(len(rss_mib) // 40, 1)
    return {
        "early_mib": round(float(early), 1),
        "late_mib": round(float(late), 1),
        "growth_percent": round(100 * float(late / early - 1), 2),
        "compared": f"medians of {minutes / 10:.1f} minutes, one tenth in and at the end",
        "rss_mib": [round(each, 1) for each in rss_mib[::every]],
    }


class Script:
    """Faults one after the other, each with its recovery and losses."""

    def __init__(
        self, car: cars.Car, perception: onboard.Perception, nodes: list[str], rows: Path
    ) -> None:
        self.car, self.perception, self.rows = car, perception, rows
        self.nodes = [node for node in nodes if node != "explanation"]
        self.table: list[dict[str, Any]] = []

    def strike(self, name: str, fault: Callable[[], None], over: Callable[[], None]) -> None:
        """Fault, its end, and then frames until every node answers what came after."""
        car = self.car
        car.drive(SETTLED_S, RATE)
        trace = car.trace = cars.Trace()
        begun = time.perf_counter()
        fault()
        over()
        ended = time.perf_counter()
        row: dict[str, Any] = {"fault": name, "seconds": round(ended - begun, 2)}

        def recovered(node: str) -> float | None:
            trigger = trace.sent["/tracks" if node == "forecasting" else "/image"]
            after = [
                at
                for stamp, at in list(trace.answered[node].items())
                if trigger.get(stamp, 0.0) >= ended
            ]
            return min(after) if after else None

        car.wait(lambda: all(recovered(node) is not None for node in self.nodes), KILLED_S, RATE)
        for node in self.nodes:
            at = recovered(node)
            trigger = trace.sent["/tracks" if node == "forecasting" else "/image"]
            lost = [
                stamp
                for stamp, sent in trigger.items()
                if sent <= (at or np.inf) and stamp not in trace.answered[node]
            ]
            row[node] = {
                "recovery_s": None if at is None else round(at - ended, 2),
                "lost": len(lost),
                "of": len(trigger),
            }
        self._note(row)

    def kill(self, name: str) -> None:
        """kill -9."""

        def fault() -> None:
            os.kill(self.perception.pid(name), signal.SIGKILL)

        self.strike(f"kill -9 {name}", fault, lambda: None)

    def silence(self, *topics: str) -> None:
        """A sensor drop-out: nothing on the topics for some seconds."""

        def fault() -> None:
            self.car.faults.silent |= set(topics)
            self._go_on(DROPOUT_S)

        self.strike(
            f"{', '.join(topics)} silent for {DROPOUT_S:g} s",
            fault,
            self.car.faults.silent.clear,
        )

    def jump(self, seconds: float) -> None:
        """All stamps jump; they stay where they then are."""

        def fault() -> None:
            self.car.faults.offset_ns += round(seconds * 1e9)

        self.strike(f"stamps jump by {seconds:+g} s", fault, lambda: None)

    def corrupt(self, share: float, seconds: float) -> dict[str, Any]:
        """Damaged messages on every topic; who else is lost beside them?"""
        car = self.car
        car.drive(SETTLED_S, RATE)
        with _set(car.faults, "corrupt", share):
            trace = car.drive(seconds, RATE)
        row: dict[str, Any] = {
            "fault": f"{share:.0%} of all messages damaged",
            "seconds": seconds,
            "damaged": {topic: len(stamps) for topic, stamps in trace.damaged.items()},
        }
        for node in self.nodes:
            topic = "/tracks" if node == "forecasting" else "/image"
            lost = {s for s in trace.sent[topic] if s not in trace.answered[node]}
            row[node] = {
                "lost_damaged": len(lost & trace.damaged[topic]),
                "lost_others": len(lost - trace.damaged[topic]),
                "of": len(trace.sent[topic]),
            }
        self._note(row)
        return row

    def _note(self, row: dict[str, Any]) -> None:
        self.table.append(row)
        print(json.dumps(row), flush=True)
        with self.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _go_on(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self.car.feed()
            time.sleep(1 / RATE)


@contextlib.contextmanager
def _set(thing: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)


def faults(
    frames: Any,
    parameters: dict[str, Any],
    nodes: list[str],
    corrupted_s: float,
    scratch: Path,
    rows: Path,
) -> dict[str, Any]:
    """The fault script; each row is kept in the file `rows` as it comes."""
    rows.parent.mkdir(parents=True, exist_ok=True)
    rows.write_text("")
    car = cars.Car(frames)
    try:
        with onboard.running(car, parameters, nodes, True, scratch) as perception:
            script = Script(car, perception, nodes, rows)
            for node in nodes:
                script.kill(node)
            script.silence("/image")
            script.silence("/points")
            script.silence("/tracks")
            script.silence(*cars.INPUTS, "/tracks")
            for seconds in (-30.0, 3600.0, -3600.0, 0.5):
                script.jump(seconds)
            script.corrupt(0.01, corrupted_s)
            return {
                "table": script.table,
                "exceptions_in_log": perception.exceptions(),
                "restarts": perception.log.read_text().count("started as process") - len(nodes),
            }
    finally:
        car.close()


def main() -> None:
    """Soaks, breaks things, writes docs/results/soak.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="below 20: writes nothing")
    parser.add_argument("--nodes", default=",".join(cars.NODES))
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--threads", type=int, default=1, help="of each network's engine")
    parser.add_argument(
        "--only", choices=("soak", "faults"), help="soak: the faults are those of the last run"
    )
    parser.add_argument("--shared", default="", help="what else ran on the machine, for the record")
    given = parser.parse_args()
    onboard.isolate()
    nodes = given.nodes.split(",")
    frames, T = cars.kitti_frames(onboard.data_folder())
    parameters = onboard.parameters(T, given.engine, given.threads)
    full = given.minutes >= 20
    figures: dict[str, Any] = {"before": onboard.machine_load()}
    with tempfile.TemporaryDirectory() as scratch:
        if given.only != "soak":
            corrupted_s = 60.0 if full else 10.0
            rows = ROWS if full else Path(scratch) / "rows.jsonl"
            figures["faults"] = faults(frames, parameters, nodes, corrupted_s, Path(scratch), rows)
        elif full and ROWS.exists():
            kept = [json.loads(line) for line in ROWS.read_text().splitlines()]
            figures["faults"] = {"table": kept}
        if given.only != "faults":
            figures["soak"] = soak(frames, parameters, nodes, given.minutes, Path(scratch))
    figures["after"] = onboard.machine_load()
    print(json.dumps(figures, indent=1))
    if full and given.only != "faults":
        results.write(
            "soak",
            "ros_xai bench soak",
            figures,
            rate_hz=RATE,
            engine=given.engine,
            threads=given.threads,
            agents=cars.AGENTS,
            machine_shared_with=given.shared or "nothing that the benchmark knows of",
        )


if __name__ == "__main__":
    main()
