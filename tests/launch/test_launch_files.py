"""What the launch files start, by argument, where launch is not installed: PyPI does not have it.

Records stand for launch's actions and substitutions; what the files put into them is held against
the package: its executables, its parameter file, the command line of `ros_xai replay`. By launch
itself: test_perception_launch.py.
"""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ros_xai.cli import app

ROOT = Path(__file__).resolve().parents[2]
EXECUTABLES = set(re.findall(r'"(\w+) = ros_xai', (ROOT / "setup.py").read_text()))
NODES = ("depth", "segmentation", "forecasting", "explanation")


class Record:
    """An action or a substitution: its name and what it was made with."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments = arguments
        vars(self).update(named)

    def perform(self, context: dict[str, str]) -> str:
        return {
            "LaunchConfiguration": lambda: context[self.arguments[0]],
            "FindPackageShare": lambda: str(ROOT),
            "FindPackagePrefix": lambda: "/opt",
            "PathJoinSubstitution": lambda: "/".join(text(p, context) for p in self.arguments[0]),
        }[type(self).__name__]()


def text(value: Any, context: dict[str, str]) -> str:
    return value.perform(context) if isinstance(value, Record) else value


MODULES = {
    "launch": "LaunchContext LaunchDescription",
    "launch.actions": "DeclareLaunchArgument ExecuteProcess OpaqueFunction",
    "launch.conditions": "IfCondition",
    "launch.substitutions": "LaunchConfiguration PathJoinSubstitution",
    "launch_ros": "",
    "launch_ros.actions": "Node",
    "launch_ros.substitutions": "FindPackagePrefix FindPackageShare",
}


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The processes that a launch file starts with the given arguments, and their context."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, classes in MODULES.items():
        module = ModuleType(name)
        for each in classes.split():
            setattr(module, each, type(each, (Record,), {}))
        monkeypatch.setitem(sys.modules, name, module)

    def started(file: str, **given: str) -> tuple[list[Any], dict[str, str]]:
        make = runpy.run_path(str(ROOT / "launch" / file))["generate_launch_description"]
        *declared, last = make().arguments[0]
        arguments = {a.arguments[0]: a for a in declared if type(a).__name__.startswith("Declare")}
        assert set(given) <= set(arguments)
        for name, value in given.items():
            choices = getattr(arguments[name], "choices", None)
            assert choices is None or value in choices
        context: dict[str, str] = {}
        for name, argument in arguments.items():
            context[name] = given.get(name, text(argument.default_value, context))
        return last.function(context), context

    return started


def parameters(process: Any) -> dict[str, Any]:
    """Of the files a process is given, in their order, what they say of every node."""
    said: dict[str, Any] = {}
    for path in (p for p in process.parameters if isinstance(p, str)):
        for pattern, content in yaml.safe_load(Path(path).read_text()).items():
            said.setdefault(pattern.split("/")[-1], {}).update(content["ros__parameters"])
    return said


def test_one_process_of_all_nodes_with_the_package_s_parameters(start):
    (process,), _ = start("perception.launch.py")
    assert (process.package, process.executable) == ("ros_xai", "perception")
    assert Path(process.parameters[0]) == ROOT / "config" / "perception.yaml"
    switches = {name: parameters(process)["perception"][name] for name in NODES}
    assert switches == dict.fromkeys(NODES, True)
    assert process.parameters[1] == {"use_sim_time": False}


def test_a_process_for_each_node_that_is_on(start):
    given = {"composed": "false", "segmentation": "false", "namespace": "front", "respawn": "true"}
    processes, _ = start("perception.launch.py", **given)
    assert [p.executable for p in processes] == ["depth", "forecasting", "explanation"]
    assert all(p.name == p.executable for p in processes)
    assert {p.executable for p in processes} <= EXECUTABLES
    assert all(p.namespace == "front" and p.respawn for p in processes)


@pytest.mark.parametrize("node", ["depth", "segmentation", "explanation"])
def test_an_engine_goes_to_its_node_alone(start, node):
    (process,), _ = start("perception.launch.py", **{f"{node}_engine": "onnxruntime"})
    (base,), _ = start("perception.launch.py")
    engines = {name: said.get("engine") for name, said in parameters(process).items()}
    assert engines == {n: s.get("engine") for n, s in parameters(base).items()} | {
        node: "onnxruntime"
    }


def test_topics_are_moved_by_argument_over_the_preset(start):
    (process,), _ = start("perception.launch.py", remaps="autoware", image="/mine")
    preset = yaml.safe_load((ROOT / "config" / "autoware.yaml").read_text())
    moved = {"image": "/mine", "image/compressed": "/mine/compressed"}
    assert dict(process.remappings) == preset | moved


def test_rviz_shows_the_namespace(start):
    *_, rviz = start("perception.launch.py", rviz="true", namespace="front")[0]
    assert rviz.executable == "rviz2"
    values = re.findall(r"Value: (/\S+)", Path(rviz.arguments[1]).read_text())
    assert values and all(v.startswith("/front/") for v in values)


@pytest.mark.parametrize("given", [{"lockstep": "true"}, {"rate": "0.5", "out": "results"}])
def test_replay_is_given_options_it_knows(start, given, tmp_path):
    bag = tmp_path / "none.mcap"
    (process,), context = start("replay.launch.py", bag=str(bag), **given)
    command, *options = (text(part, context) for part in process.cmd)
    assert command == "/opt/lib/ros_xai/ros_xai"
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1 and "none.mcap" in result.output  # no usage error, which is 2
