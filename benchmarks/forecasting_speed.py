"""How long one message of tracks takes the forecasting node's stages, from 1 to 200 agents.

Cars on a road with a map, ten messages a second; the time from the decoded MarkerArray to the
messages to publish: histories, network with attribution, stability, clouds, markers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from benchmarks import results
from ros_xai.data.forecasting import VectorMap
from ros_xai.forecasting.evaluation import RADII
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.forecasting.stability import StabilityMonitor
from ros_xai.forecasting.tracks import TrackBuffers
from ros_xai.ros import forecasts, pointclouds, tracks

NAME = "forecasting_speed"
AGENTS = (1, 10, 25, 50, 100, 200)
THREADS = 1  # of the network; the rest of a two-core machine is the other nodes'
BUDGET_AGENTS, BUDGET_MS = 50, 50.0


def street(agents: int, tick: int) -> MarkerArray:
    """Cars 12 m apart in four lanes, at 8 to 11 m/s."""
    header = Header(stamp=Time(sec=tick // 10, nanosec=tick % 10 * 100_000_000), frame_id="map")
    made = []
    for k in range(agents):
        marker = Marker(header=header, ns="car", id=k)
        marker.pose.position.x = 12.0 * (k // 4) + 0.1 * tick * (8.0 + k % 4)
        marker.pose.position.y = 3.5 * (k % 4)
        marker.pose.orientation.w = 1.0
        made.append(marker)
    return MarkerArray(markers=made)


def raster() -> MapRaster:
    x = [-50.0, 900.0]
    road = np.array([[x[0], -2], [x[1], -2], [x[1], 13], [x[0], 13.0]])
    lines = tuple(np.array([[x[0], y], [x[1], y]]) for y in (1.75, 5.25, 8.75))
    return rasterize(VectorMap((road,), lines, ()))


def timed(agents: int, rounds: int, forecaster: Forecaster, road: MapRaster) -> dict[str, Any]:
    """Medians and 99th percentiles in ms of the stages and of their sum, over `rounds` messages:
    wall clock, and the processor's time, which other programs disturb less."""
    buffers, monitor = TrackBuffers(), StabilityMonitor(RADII)
    stages: dict[str, list[tuple[float, float]]] = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        begun, worked = time.perf_counter(), time.process_time()
        made = work()
        took = time.perf_counter() - begun, time.process_time() - worked
        stages.setdefault(name, []).append((1e3 * took[0], 1e3 * took[1]))
        return made

    warm_up = 65  # six seconds, from which on stability is judged
    said: Any = None
    for tick in range(warm_up + rounds):
        message = street(agents, tick)

        def histories(message: MarkerArray = message, tick: int = tick) -> Any:
            seen = tracks.from_markers(message)
            buffers.observe(tick * 100_000_000, seen.agents)
            return buffers.tracks(), seen.header

        (known, header) = stage("histories", histories)
        if said is None or tick >= warm_up - 3:
            said = stage("network and attribution", lambda k=known: forecaster(k, road))
        present = known.xy[:, -1]

        def messages(
            s: Any = said, p: NDArray[Any] = present, h: Any = header, t: int = tick
        ) -> Any:
            paths = s.modes[np.arange(agents), s.probabilities.argmax(axis=1)]
            steady = monitor.update(t * 100_000_000, s.id, p, paths)
            number = forecasts.track_numbers(s.id)
            clouds = (
                forecasts.points(s, number),
                forecasts.stability(steady, p, number, RADII),
                forecasts.attribution(s, number),
            )
            return [pointclouds.to_message(cloud, h) for cloud in clouds], (s, p, number, h)

        _, parts = stage("stability and clouds", messages)
        stage("markers", lambda a=parts: forecasts.markers(*a, modes=3))
    kept = {name: np.array(values[-rounds:]) for name, values in stages.items()}
    kept["all"] = np.sum(list(kept.values()), axis=0)
    return {
        name: {
            "median_ms": round(float(np.median(ms[:, 0])), 2),
            "p99_ms": round(float(np.percentile(ms[:, 0], 99)), 2),
            "cpu_median_ms": round(float(np.median(ms[:, 1])), 2),
        }
        for name, ms in kept.items()
    }


def main(argv: list[str]) -> None:
    """Prints one JSON line per number of agents and writes docs/results/forecasting_speed.json."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="few messages, to see that it runs")
    arguments = parser.parse_args(argv)
    rounds = 3 if arguments.quick else arguments.rounds
    torch.set_num_threads(THREADS)
    forecaster, road = Forecaster.load(), raster()
    figures = {}
    for agents in AGENTS:
        figures[str(agents)] = timed(agents, rounds, forecaster, road)
        print(json.dumps({"agents": agents, **figures[str(agents)]}), flush=True)
    met = figures[str(BUDGET_AGENTS)]["all"]["median_ms"] <= BUDGET_MS
    print(json.dumps({"agents": BUDGET_AGENTS, "budget_ms": BUDGET_MS, "met": met}))
    if not arguments.quick:
        command = f"ros_xai bench forecasting-speed --rounds {rounds}"
        results.write(NAME, command, figures, threads=THREADS, rounds=rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
