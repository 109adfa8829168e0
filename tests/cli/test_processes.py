"""Children are started, started again, and stopped together."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from ros_xai.cli.processes import supervise


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_the_largest_exit_code_is_returned_when_all_have_ended():
    codes = {"good": python("pass"), "bad": python("raise SystemExit(7)")}
    assert supervise(codes, respawn=False, say=lambda text: None) == 7


def test_a_child_that_a_signal_ended_counts_as_failed():
    kill = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    said = []
    assert supervise({"killed": kill}, respawn=False, say=said.append) == 1
    assert said[-1] == "killed ended with code -9"


def test_a_dead_child_is_started_again_until_its_arguments_are_wrong(tmp_path: Path):
    runs = tmp_path / "runs"
    code = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]);"
        "n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1));"
        "sys.exit(1 if n < 3 else 2)"
    )
    result = supervise({"c": python(code, runs)}, True, delay_s=0.01, say=lambda text: None)
    assert result == 2
    assert len(runs.read_text()) == 4


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_signal_stops_every_child(tmp_path: Path, stubborn: bool, monkeypatch):
    monkeypatch.setattr("ros_xai.cli.processes._STOP_S", 1.0 if stubborn else 60.0)
    code = (
        "import os, signal, sys, time, pathlib\n"
        + ("signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if stubborn else "")
        + "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    files = [tmp_path / name for name in "ab"]

    def interrupt():
        while not all(file.exists() and file.read_text() for file in files):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    commands = {file.name: python(code, file) for file in files}
    assert supervise(commands, respawn=True, say=lambda text: None) == 0
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)
