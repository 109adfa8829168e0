"""What `ros_xai perception` hands to the nodes, and what it refuses."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ros_xai.cli import perception as command

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture
def started(monkeypatch):
    """Arguments of the processes that would run by name, and what their parameter files say."""
    seen = {}

    def supervise(commands, respawn, say):
        for name, parts in commands.items():
            files = [v for f, v in pairwise(parts) if f == "--params-file"]
            values = [yaml.safe_load(Path(file).read_text()) for file in files]
            seen[name] = (parts, values)
        return 0

    monkeypatch.setattr(command, "supervise", supervise)
    return seen


def run(*arguments):
    return CliRunner().invoke(command.app, list(arguments))


def test_separate_processes_get_config_namespace_remaps_and_parameters(started):
    config = CONFIG / "perception.yaml"
    arguments = ["--separate", "--nodes", "depth,segmentation", "--config", str(config)]
    arguments += ["--namespace", "front/", "--use-sim-time", "--remap", "image:=/cam/image"]
    arguments += ["--param", "depth:rings:=[56, 40]", "--log-level", "warn"]
    assert run(*arguments).exit_code == 0
    assert list(started) == ["depth", "segmentation"]
    for name, (parts, values) in started.items():
        text = " ".join(parts)
        assert f"-m ros_xai.nodes.{name} --ros-args --log-level warn --params-file {config}" in text
        assert text.endswith("-r __ns:=/front -p use_sim_time:=true -r image:=/cam/image")
        assert values[0] == yaml.safe_load(config.read_text())
        assert values[1]["/**/depth"] == {"ros__parameters": {"rings": [56, 40]}}


def test_one_process_is_told_which_nodes_to_hold(started):
    assert run("--respawn", "--nodes", "depth").exit_code == 0
    ((_, values),) = started.values()
    told = values[0]["/**/perception"]["ros__parameters"]
    assert told == {
        "depth": True,
        "segmentation": False,
        "forecasting": False,
        "explanation": False,
    }


def test_a_remap_by_hand_comes_after_the_file_and_so_wins(started):
    run("--separate", "--nodes", "depth", "--remaps", "autoware", "--remap", "image:=/mine")
    remaps = [v for f, v in pairwise(started["depth"][0]) if f == "-r"]
    assert "points:=/sensing/lidar/concatenated/pointcloud" in remaps
    assert remaps.index("image:=/mine") > remaps.index(
        "image:=/sensing/camera/camera0/image_rect_color"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--nodes", "depth,tracking"), "got tracking"),
        (("--nodes", ""), "expected some of depth"),
        (("--remap", "image=/a"), "FROM:=TO"),
        (("--param", "depht:rings:=[1]"), "NODE:NAME:=VALUE"),
        (("--param", "depth:rings:=[56,"), "expected VALUE in YAML; got depth:rings:=[56,"),
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


def test_remappings_that_are_no_yaml_are_refused(started, tmp_path):
    (tmp_path / "broken.yaml").write_text("image: [1")
    result = run("--separate", "--remaps", str(tmp_path / "broken.yaml"))
    assert result.exit_code == 2
    assert "is no YAML" in " ".join(result.output.replace("│", " ").split())
    assert not started
