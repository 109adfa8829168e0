"""What `ros_xai perception` hands to the nodes, and what it refuses."""

from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ros_xai.cli import perception as command

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture
def started(monkeypatch):
    """Arguments of the processes that would run, by name."""
    seen = {}
    monkeypatch.setattr(command, "supervise", lambda commands, *a, **k: seen.update(commands) or 0)
    return seen


def run(*arguments):
    return CliRunner().invoke(command.app, list(arguments))


def test_separate_processes_get_config_namespace_remaps_and_parameters(started):
    config = CONFIG / "perception.yaml"
    arguments = ["--separate", "--nodes", "depth,segmentation", "--config", str(config)]
    arguments += ["--namespace", "front/", "--use-sim-time", "--remap", "image:=/cam/image"]
    arguments += ["--param", "depth:engine:=openvino", "--log-level", "warn"]
    assert run(*arguments).exit_code == 0
    assert [parts[2] for parts in started.values()] == [
        "ros_xai.nodes.depth",
        "ros_xai.nodes.segmentation",
    ]
    expected = f"--ros-args --log-level warn --params-file {config} -r __ns:=/front"
    expected += " -p use_sim_time:=true -r image:=/cam/image -p depth:engine:=openvino"
    assert {" ".join(parts[3:]) for parts in started.values()} == {expected}


def test_one_process_is_told_which_nodes_to_hold(started):
    assert run("--respawn", "--nodes", "depth").exit_code == 0
    (arguments,) = started.values()
    given = [value for flag, value in pairwise(arguments) if flag == "-p"]
    assert given == [
        "perception:depth:=true",
        "perception:segmentation:=false",
        "perception:forecasting:=false",
        "perception:explanation:=false",
    ]


def test_a_remap_by_hand_comes_after_the_file_and_so_wins(started):
    run("--separate", "--nodes", "depth", "--remaps", "autoware", "--remap", "image:=/mine")
    remaps = [v for f, v in pairwise(started["depth"]) if f == "-r"]
    assert "points:=/sensing/lidar/concatenated/pointcloud" in remaps
    assert remaps.index("image:=/mine") > remaps.index(
        "image:=/sensing/camera/camera0/image_rect_color"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--nodes", "depth,tracking"), "got tracking"),
        (("--remap", "image=/a"), "FROM:=TO"),
        (("--remaps", "nothing"), "nothing.yaml"),
        (("--remaps", str(CONFIG / "perception.yaml")), "FROM: TO"),
        (("--config", "no_such.yaml"), "no_such.yaml"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_expected(started, arguments, text):
    result = run(*arguments)
    assert result.exit_code == 2
    assert text in result.output.replace("\n", "").replace("│", "").replace("  ", " ")
    assert not started
