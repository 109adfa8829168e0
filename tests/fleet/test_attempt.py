"""A task in its child process: its rows, its domain, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.fleet import attempt as attempting
from ros_xai.fleet.attempt import attempt, claimed_domain
from ros_xai.fleet.tables import column
from ros_xai.fleet.tasks import Candidate, Needs, Task
from tests.fleet.conftest import START_NS, write_config, write_drive


def task(bag: Path, config: Path | None = None, **changes: object) -> Task:
    whole = Task(bag.stem, bag, "sha", Candidate.of(config), "v")
    return replace(whole, **changes)


def rows(part: bytes) -> list[dict]:
    return pq.read_table(pa.BufferReader(part)).to_pylist()


def test_rows_are_those_of_a_replay_with_speed_light_and_classes(tmp_path: Path) -> None:
    drive, config = write_drive(tmp_path / "drive.mcap"), write_config(tmp_path / "c.yaml", [1, 2])
    outcome = attempt(task(drive, config), 1)
    assert outcome.error == "", outcome.log
    out = tmp_path / "replay"
    arguments = ["replay", str(drive), "--lockstep", "--config", str(config), "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    metrics = json.loads((out / "metrics.json").read_text())
    (bag,) = rows(outcome.parts["bags"])
    figures = {column(k[6:]): v for k, v in metrics.items() if k.startswith("depth.")}
    assert len(figures) > 20
    assert {name: bag[name] for name in figures} == pytest.approx(figures, rel=1e-4)
    assert (bag["status"], bag["frames_in"], bag["frames_out"]) == ("ok", 4, 4)
    frames = rows(outcome.parts["frames"])
    assert [f["stamp_ns"] for f in frames] == [START_NS + i * 10**8 for i in range(4)]
    assert {f["speed"] for f in frames} == {7.0}
    assert all(0.4 < f["brightness"] < 0.6 for f in frames)  # noise from 0 to 254 of 255
    classes = rows(outcome.parts["classes"])
    assert {(c["class"], c["pixels"]) for c in classes} == {("car", 3072), ("road", 3072)}
    mean = sum(c["abs_rel"] for c in classes) / len(classes)
    assert mean == pytest.approx(bag["abs_rel"], rel=1e-4)  # halves of every frame
    captions = [p["caption"] for p in rows(outcome.parts["pictures"])]
    assert captions == ["camera", "input beams", "depth", "error"]
    (timing,) = rows(outcome.parts["timings"])
    assert timing["frames"] == 4 and timing["cpu_s"] > 0 and timing["attempt"] == 1


def test_the_same_task_gives_the_same_parts_and_fewer_beams_other_ones(tmp_path: Path) -> None:
    drive = write_drive(tmp_path / "drive.mcap")
    first, again = (attempt(task(drive), number) for number in (1, 2))
    for table in ("bags", "frames", "classes", "pictures"):
        assert first.parts[table] == again.parts[table], table
    fewer = attempt(task(drive, write_config(tmp_path / "c.yaml", [1])), 1)
    assert rows(fewer.parts["bags"])[0]["abs_rel"] != rows(first.parts["bags"])[0]["abs_rel"]


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        ("noise", "failed", "no bag"),
        ("no camera", "failed", "missing topic: image"),
        ("cut", "degraded", "damaged: drive.mcap breaks off"),
    ],
)
def test_a_broken_bag_has_a_row_that_says_so(
    tmp_path: Path, kind: str, status: str, problem: str
) -> None:
    drive = write_drive(tmp_path / "drive.mcap", frames=40, camera=kind != "no camera")
    if kind == "noise":
        drive.write_bytes(b"no bag at all" * 99)
    if kind == "cut":
        drive.write_bytes(drive.read_bytes()[: drive.stat().st_size * 2 // 3])
    outcome = attempt(task(drive), 1)
    assert outcome.error == "", outcome.log
    (bag,) = rows(outcome.parts["bags"])
    assert bag["status"] == status
    assert any(problem in text for text in bag["problems"]), bag["problems"]
    if kind == "cut":
        assert 0 < bag["frames_out"] < 40


def test_a_node_that_cannot_start_is_a_failed_bag(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("depth: {ros__parameters: {weights: /nowhere.safetensors}}\n")
    outcome = attempt(task(write_drive(tmp_path / "drive.mcap"), config), 1)
    (bag,) = rows(outcome.parts["bags"])
    assert (bag["status"], bag["answered"]) == ("failed", 0.0)
    assert "no frame was answered" in bag["problems"]


def test_a_task_without_end_is_ended(tmp_path: Path) -> None:
    hasty = task(write_drive(tmp_path / "drive.mcap"), needs=Needs(timeout_s=0.2))
    assert "no end within 0.2 s" in attempt(hasty, 1).error


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = write_drive(tmp_path / "drive.mcap")
    monkeypatch.setattr(attempting, "SPARE_BYTES", 1 << 60)
    assert "MB left" in attempt(task(drive), 1).error


def test_tasks_at_a_time_have_domains_of_their_own() -> None:
    with claimed_domain() as first, claimed_domain() as second:
        script = "from ros_xai.fleet.attempt import claimed_domain\n"
        script += "with claimed_domain() as third: print(third)"
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert len({first, second, int(other.stdout)}) == 3
        assert all(1 <= domain <= 101 for domain in (first, second, int(other.stdout)))


PARENT = """
import sys
from pathlib import Path
from ros_xai.fleet.attempt import attempt
from ros_xai.fleet.tasks import Candidate, Task
bag = Path(sys.argv[1])
attempt(Task("drive", bag, "sha", Candidate.of(None), "v"), 1)
"""


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_the_child_dies_with_a_killed_worker(tmp_path: Path) -> None:
    drive = write_drive(tmp_path / "drive.mcap", frames=400)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(drive)], env=environment)
    deadline = time.monotonic() + 120
    # By the time that the replay's folder is there, the child has long tied itself to its parent.
    while not list(tmp_path.glob("ros_xai-*/replay")) and time.monotonic() < deadline:
        time.sleep(0.05)
    (child,) = children(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while Path(f"/proc/{child}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{child}/cmdline").read_bytes():  # dead, not yet reaped
            break
        time.sleep(0.05)
    assert time.monotonic() < deadline
