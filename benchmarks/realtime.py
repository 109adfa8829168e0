"""All nodes on the KITTI clip in real time: answers, latencies, CPU and memory, breaking rate.

    ros_xai bench realtime            # about 7 minutes
    ros_xai bench realtime --nodes depth --no-sweep    # at 10 Hz only, to realtime_depth.json
    ros_xai bench realtime --short    # a try of half a minute; writes nothing

The car (publisher and listener) is a process of its own on the same cores. Latency is from the
moment the car publishes an image to the moment it holds the answer, both over DDS.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import car as cars
from benchmarks import onboard, results

RATES = (10, 15, 20, 25, 30, 40, 50, 60, 80)
ENOUGH = 0.99  # share of answered frames below which a rate counts as broken


def measure(
    car: cars.Car, perception: onboard.Perception, nodes: list[str], seconds: float, rate: float
) -> dict[str, Any]:
    """One drive: every node's answers, the processes' CPU and memory."""
    car.drive(3, rate)
    meters = perception.usages()
    own = onboard.Usage(os.getpid())
    trace = car.drive(seconds, rate)
    for meter in (*meters.values(), own):
        meter.sample()
    figures: dict[str, Any] = {"rate_hz": rate, "seconds": seconds}
    for node in nodes:
        figures[node] = trace.summary(node) if node != "explanation" else {}
        if node == "forecasting" and trace.agents:
            figures[node]["agents"] = min(trace.agents)
        if node == "explanation":
            figures[node] = {
                "heatmaps": trace.counts[node],
                "heatmaps_per_minute": round(60 * trace.counts[node] / seconds, 1),
                "explained_images": len(trace.answered[node]),
            }
    figures["processes"] = {name: meter.figures() for name, meter in meters.items()}
    figures["car"] = own.figures()
    figures["exceptions"] = perception.exceptions()
    return figures


def broken(figures: dict[str, Any]) -> bool:
    """Whether depth or segmentation left more than a hundredth of the frames unanswered."""
    return any(
        figures[node]["answered"] < ENOUGH * figures[node]["frames"]
        for node in ("depth", "segmentation")
        if node in figures
    )


def faster(
    car: cars.Car,
    perception: onboard.Perception,
    nodes: list[str],
    seconds: float,
    rates: Sequence[float],
) -> dict[str, Any]:
    """Drives at rising rates, and the first of them that is too fast."""
    sweep: list[dict[str, Any]] = []
    for rate in rates:
        sweep.append(measure(car, perception, nodes, seconds, rate))
        print(json.dumps(sweep[-1]), flush=True)
        if broken(sweep[-1]):
            return {"faster": sweep, "breaks_at_hz": rate}
    return {"faster": sweep, "breaks_at_hz": None}


def main() -> None:
    """Measures and writes docs/results/realtime.json, of some nodes realtime_NODES.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a try; writes nothing")
    parser.add_argument("--nodes", default=",".join(cars.NODES))
    parser.add_argument(
        "--sweep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also faster than 10 Hz, and a process for each node",
    )
    parser.add_argument("--engine", default="openvino-bf16")
    parser.add_argument("--threads", type=int, default=1, help="of each network's engine")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--shared", default="", help="what else ran on the machine, for the record")
    given = parser.parse_args()
    nodes = given.nodes.split(",")
    subset = nodes if set(nodes) != set(cars.NODES) else []
    seconds = 8.0 if given.short else given.seconds
    onboard.isolate()
    frames, T = cars.kitti_frames(onboard.data_folder())
    parameters = onboard.parameters(T, given.engine, given.threads)
    figures: dict[str, Any] = {"before": onboard.machine_load()}
    with tempfile.TemporaryDirectory() as scratch:
        car = cars.Car(frames)
        try:
            with onboard.running(car, parameters, nodes, False, Path(scratch)) as perception:
                figures["one_process"] = measure(car, perception, nodes, seconds, 10)
                shared = car.values("nodes")
                figures["decoding"] = {
                    name: int(shared[f"decoding.{name}"]) for name in ("made", "saved")
                }
                print(json.dumps(figures["one_process"]), flush=True)
                if given.sweep:
                    rates = RATES[1:3] if given.short else RATES[1:]
                    figures |= faster(car, perception, nodes, min(seconds, 15.0), rates)
            if given.sweep:
                with onboard.running(car, parameters, nodes, True, Path(scratch)) as perception:
                    separate = measure(car, perception, nodes, min(seconds, 30.0), 10)
                figures["process_each"] = separate
                print(json.dumps(separate), flush=True)
        finally:
            car.close()
    figures["after"] = onboard.machine_load()
    print(json.dumps(figures, indent=1))
    if not given.short:
        results.write(
            "_".join(["realtime", *subset]),
            " ".join(["ros_xai bench realtime", *sys.argv[1:]]),
            figures,
            image="1242 x 375, networks at 640 x 192",
            engine=given.engine,
            threads=given.threads,
            agents=cars.AGENTS,
            machine_shared_with=given.shared or "nothing that the benchmark knows of",
        )


if __name__ == "__main__":
    main()
