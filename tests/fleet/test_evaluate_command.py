"""`ros_xai evaluate` as a user types it, on the local engine and on a Ray cluster of two nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from ros_xai.cli import app
from ros_xai.fleet.tables import COMPARED, SCHEMAS
from tests.fleet.conftest import write_config, write_drive

# Where the tests run in a shell's background SIGINT is ignored, and children inherit that.
SCRIPT = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from ros_xai.cli import app; app()"
)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, "evaluate", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def parts(out: Path) -> dict[str, dict[str, Any]]:
    """Rows by table and part; every key is in one part alone."""
    found = {
        table: {path.stem: pq.read_table(path) for path in (out / table).glob("*.parquet")}
        for table in SCHEMAS
    }
    for table in found.values():
        for key, rows in table.items():
            assert set(rows["key"].to_pylist()) <= {key}
    assert all(table.keys() == found["bags"].keys() for table in found.values())
    return found


def wait_for_tasks(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while len(list((out / "bags").glob("*.parquet"))) < count:
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three drives."""
    folder = tmp_path_factory.mktemp("drives")
    for name, wall in (("near", 6.0), ("middle", 10.0), ("far", 25.0)):
        write_drive(folder / f"{name}.mcap", wall=wall)
    return folder


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options: all beams, and one beam."""
    folder = tmp_path_factory.mktemp("configs")
    files = [write_config(folder / "all.yaml"), write_config(folder / "one.yaml", [1])]
    return [word for file in files for word in ("--config", str(file))]


@pytest.fixture(scope="module")
def whole(drives: Path, configs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an undisturbed local run."""
    out = tmp_path_factory.mktemp("whole")
    result = evaluate(drives, *configs, "--out", out)
    assert result.exit_code == 0, result.output
    assert "tasks: 6 done, 0 done before, 0 given up" in result.output
    return out


def assert_same_rows(ours: Path, theirs: Path) -> None:
    a, b = parts(ours), parts(theirs)
    for table in COMPARED:
        assert a[table].keys() == b[table].keys()
        for key, rows in a[table].items():
            assert rows.equals(b[table][key]), (table, key)


def test_an_interrupted_run_resumes_to_the_same_rows(
    drives: Path, configs: list[str], whole: Path, tmp_path: Path
) -> None:
    arguments = [drives, *configs, "--out", tmp_path, "--jobs", 1]
    process = start(*arguments)
    wait_for_tasks(tmp_path, 2, process)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130, output
    done = len(list((tmp_path / "bags").glob("*.parquet")))
    assert 2 <= done < 6
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.output
    assert f"tasks: {6 - done} done, {done} done before" in result.output
    assert_same_rows(tmp_path, whole)


def test_a_child_that_is_killed_is_tried_again(drives: Path, tmp_path: Path) -> None:
    process = start(drives, "--out", tmp_path / "out", "--jobs", 1)
    deadline = time.monotonic() + 200
    child = None
    while child is None and time.monotonic() < deadline:
        child = next(iter(replays_of(process.pid)), None)
        time.sleep(0.01)
    assert child is not None
    os.kill(child, signal.SIGKILL)
    output = process.communicate(timeout=200)[0].decode()
    assert process.returncode == 0, output
    assert "again: ended with code -9" in output
    timings = [t.to_pylist()[0]["attempt"] for t in parts(tmp_path / "out")["timings"].values()]
    assert sorted(timings) == [1, 1, 2]


def replays_of(pid: int) -> list[int]:
    """Children of the process that do tasks."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            command = Path(f"/proc/{child}/cmdline")
            if command.exists() and b"ros_xai.fleet.child" in command.read_bytes():
                found.append(int(child))
    return found


def test_broken_bags_are_named_and_the_exit_code_says_so(
    drives: Path, configs: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "bags"
    folder.mkdir()
    whole = (drives / "near.mcap").read_bytes()
    (folder / "whole.mcap").write_bytes(whole)
    long = write_drive(folder / "truncated.mcap", frames=40)
    long.write_bytes(long.read_bytes()[: long.stat().st_size * 2 // 3])
    (folder / "noise.mcap").write_bytes(b"no bag at all" * 99)
    write_drive(folder / "blind.mcap", camera=False)
    conditions = tmp_path / "conditions.yaml"
    conditions.write_text("bags: [{metric: abs_rel, max: 100}]\n")
    out = tmp_path / "out"
    gone = tmp_path / "gone.mcap"
    options = ["--conditions", conditions, "--out", out]
    result = evaluate(folder, gone, *configs[:2], *options)
    assert result.exit_code == 1
    verdict = json.loads((out / "verdict.json").read_text())
    problems: dict[str, str] = {}
    for problem in verdict["problems"]:
        problems[problem["bag"]] = problems.get(problem["bag"], "") + problem["problem"]
    assert problems.keys() == {"truncated", "noise", "blind", "gone"}
    assert "breaks off" in problems["truncated"]
    assert "no bag" in problems["noise"] and "no bag" in problems["gone"]
    assert "missing topic: image" in problems["blind"]
    for bag in problems:
        assert f"problem: {bag}: " in result.output
    passes = {row["bag"]: row["pass"] for row in verdict["conditions"]}
    assert passes == {"whole": True, "truncated": True, "noise": False, "blind": False}


def test_conditions_that_do_not_hold_have_an_exit_code(
    drives: Path, configs: list[str], whole: Path, tmp_path: Path
) -> None:
    conditions = tmp_path / "conditions.yaml"
    conditions.write_text("bags: [{metric: abs_rel, max: 0.0001, configs: [one]}]\n")
    result = evaluate(drives, *configs, "--conditions", conditions, "--out", whole)
    assert result.exit_code == 3, result.output
    assert "conditions: 3 pass, 3 fail" in result.output
    assert "tasks: 0 done, 6 done before" in result.output
    verdict = json.loads((whole / "verdict.json").read_text())
    assert {row["config"] for row in verdict["conditions"] if not row["pass"]} == {"one"}


def test_results_that_cannot_be_written_are_a_wrong_command(drives: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = evaluate(drives, "--out", tmp_path / "file")
    assert result.exit_code == 2 and "error: " in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{drives}", "--remap", "picture:=/x"], "expected INPUT:=/TOPIC"),
        (["{drives}/*.db3"], "no bag fits"),
        (["{drives}", "--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    drives: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    if "ray" in arguments:
        pytest.importorskip("ray", reason="Ray is not installed")
    words = [word.replace("{drives}", str(drives)) for word in arguments]
    result = evaluate(*words, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("option", ["BAGS", "--config", "--conditions", "--out"])
@pytest.mark.parametrize("name", ["noise.yaml", "noise.txt"])
def test_a_file_that_cannot_be_used_is_a_wrong_command(
    drives: Path, tmp_path: Path, option: str, name: str
) -> None:
    noise = tmp_path / name
    noise.write_bytes(b"\xff\xfe\xfa")
    given = {"BAGS": drives, "--out": tmp_path / "out", option: noise}
    bags = given.pop("BAGS")
    result = evaluate(bags, *(word for pair in given.items() for word in pair))
    assert result.exit_code == 2, result.output
    assert str(noise) in result.output


def test_two_ray_nodes_one_killed_give_the_rows_of_the_local_engine(
    drives: Path,
    configs: list[str],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    limits = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={**limits, "include_dashboard": False}
    )
    try:
        worker = cluster.add_node(**limits)
        out = tmp_path / "out"
        options = ["--engine", "ray", "--address", cluster.address, "--out", out, "--memory", 0.5]
        process = start(drives, *configs, *options)
        wait_for_tasks(out, 1, process)
        cluster.remove_node(worker, allow_graceful=False)
        output = process.communicate(timeout=250)[0].decode()
        assert process.returncode == 0, output
        assert "tasks: 6 done" in output
        assert_same_rows(out, whole)
    finally:
        cluster.shutdown()
