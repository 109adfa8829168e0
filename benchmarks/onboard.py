"""The nodes of a benchmark as supervised processes: started, metered, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.car import Car, Trace
from ros_xai.data.kitti import RINGS

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 2**20
FASTDDS = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"


@dataclass
class Usage:
    """CPU seconds and resident memory of a process with its children, by /proc."""

    pid: int
    cpu_s: float = 0.0
    wall_s: float = 0.0
    rss_mib: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._cpu, self._at = _cpu_s(self.pid), time.monotonic()

    def sample(self) -> None:
        """Takes the present figures; a process that has died keeps its last ones."""
        try:
            self.cpu_s = _cpu_s(self.pid) - self._cpu
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except OSError:
            return
        self.wall_s = time.monotonic() - self._at
        self.rss_mib.append(pages * PAGE / MEBIBYTE)

    def figures(self) -> dict[str, float]:
        """Share of one core in percent, and the newest resident size."""
        return {
            "cpu_percent_of_a_core": round(100 * self.cpu_s / max(self.wall_s, 1e-9), 1),
            "rss_mib": round(self.rss_mib[-1], 1) if self.rss_mib else 0.0,
        }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Perception:
    """`ros_xai perception` as a supervised process, with its log."""

    def __init__(
        self,
        parameters: dict[str, Any],
        nodes: Sequence[str],
        separate: bool,
        scratch: Path,
        within: Sequence[str] = (),
    ) -> None:
        self.log = scratch / f"perception_{time.time_ns()}.log"
        flags = [f for n, v in parameters.items() for f in ("--param", f"{n}:={json.dumps(v)}")]
        flags += ["--respawn", "--nodes", ",".join(nodes), *(["--separate"] if separate else [])]
        self.names = list(nodes) if separate else ["perception"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", "ros_xai", "perception", *flags],
                stdout=log,
                stderr=log,
            )

    def pid(self, name: str) -> int:
        """The newest process of the name that the supervisor told of; 0 before there is one."""
        told = re.findall(rf"^{name} started as process (\d+)", self.log.read_text(), re.M)
        return int(told[-1]) if told else 0

    def usages(self) -> dict[str, Usage]:
        """Fresh meters, by process."""
        return {name: Usage(self.pid(name)) for name in self.names}

    def exceptions(self) -> int:
        """Tracebacks and internal errors in the log."""
        return len(re.findall(r"Traceback|internal_error", self.log.read_text()))

    def stop(self) -> tuple[int, float]:
        """Exit code after SIGINT, and the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return code, time.monotonic() - begun


@contextmanager
def running(
    car: Car,
    parameters: dict[str, Any],
    nodes: Sequence[str],
    separate: bool,
    scratch: Path,
) -> Iterator[Perception]:
    """The nodes, once each has answered; RuntimeError with the log's end when one does not."""
    perception = Perception(parameters, nodes, separate, scratch)
    try:
        car.trace = Trace()
        # Explanations come only while nobody else wants the cores: on a full machine, never.
        awaited = [node for node in nodes if node != "explanation"]
        if not car.wait(lambda: all(car.trace.counts[node] for node in awaited), 180, rate=5):
            silent = [node for node in awaited if not car.trace.counts[node]]
            raise RuntimeError(f"no answer of {silent}:\n{perception.log.read_text()[-3000:]}")
        yield perception
    finally:
        perception.stop()


def parameters(T_camera_lidar: list[float], engine: str, threads: int) -> dict[str, Any]:
    """Four beams, networks at 640 x 192, and what explanation needs of depth."""
    chosen: dict[str, Any] = {
        "depth:T_camera_lidar": T_camera_lidar,
        "depth:rings": list(RINGS),
        "depth:publish_sparse": True,
        "depth:max_pixels": 640 * 192,
        "segmentation:max_pixels": 640 * 192,
        "forecasting:threads": 1,
        "explanation:engine": "openvino",
    }
    for node in ("depth", "segmentation"):
        chosen |= {f"{node}:engine": engine, f"{node}:threads": threads}
    return chosen


def machine_load() -> dict[str, Any]:
    """How busy others kept the machine: the load average, read when a run begins and ends."""
    return {"load_average": [round(each, 2) for each in os.getloadavg()]}


def data_folder() -> Path:
    """The KITTI clip, by ROS_XAI_DATA."""
    folder = os.environ.get("ROS_XAI_DATA")
    if not folder:
        raise SystemExit("ROS_XAI_DATA names no folder of real driving data")
    return Path(folder) / "kitti"


def isolate() -> None:
    """A DDS domain of its own, on this machine only, with shared memory for large messages, for
    this process and its children."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(FASTDDS))
