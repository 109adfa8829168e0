"""The command as a whole; each group of sub-commands has tests in its own room."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import ros_xai
from ros_xai.cli import LATER, app, train

WITHOUT_RCLPY = """
import sys
sys.modules["rclpy"] = None  # what importing a missing package looks like to everyone else
from ros_xai.cli import app
app({arguments})
"""


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def commands_below(command, path=()):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands_below(child, (*path, name))


def test_every_command_explains_itself():
    import typer.main

    paths = set(commands_below(typer.main.get_command(app))) | {
        ("train", *path) for path in commands_below(typer.main.get_command(train.app))
    }
    assert ("explain",) in paths
    assert {("bag", "from-kitti"), ("train", "depth")} <= paths
    for path in paths:
        answer = run(*path, "--help")
        assert answer.exit_code == 0, path
        groups = [(), ("bag",), ("world",), ("train",), ("generate",)]
        assert path in groups or "xample" in answer.output, path


@pytest.mark.parametrize("name", LATER)
def test_help_looks_the_same_everywhere(name):
    assert not set("│╭─") & set(run(name, "--help").output)


def test_help_does_not_wait_for_torch():
    script = "import sys, ros_xai.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_version():
    assert run("--version").output.strip() == ros_xai.__version__


def test_a_benchmark_that_does_not_exist_is_a_usage_error():
    answer = run("bench", "nothing")
    assert answer.exit_code == 2
    assert "message-conversion" in answer.output


@pytest.mark.parametrize(
    ("arguments", "code"), [(["bag", "--help"], 0), (["replay", "a.mcap", "--lockstep"], 2)]
)
def test_without_ros_the_other_commands_work(arguments, code):
    script = WITHOUT_RCLPY.format(arguments=arguments)
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.returncode == code, answer.stderr
    if code:
        assert "pip install 'ros_xai[ros]'" in answer.stderr
