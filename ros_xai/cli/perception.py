"""`ros_xai perception`: the graph of perception.launch.py where `launch` is not installed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ros_xai.cli.processes import supervise

# As ros_xai.nodes.perception.NODES, which needs rclpy to be imported.
NODES = ("depth", "segmentation", "forecasting", "explanation")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class LogLevel(str, Enum):
    """Levels of ROS's log."""

    debug = "debug"
    info = "info"
    warn = "warn"
    error = "error"
    fatal = "fatal"


@app.command()
def perception(
    config: Annotated[
        Path | None,
        typer.Option(help="ROS parameter file of the nodes.", exists=True, dir_okay=False),
    ] = None,
    nodes: Annotated[str, typer.Option(help="Nodes to run, by comma.")] = ",".join(NODES),
    namespace: Annotated[str, typer.Option(help="Namespace of nodes and relative topics.")] = "",
    use_sim_time: Annotated[
        bool, typer.Option("--use-sim-time", help="Take time from /clock.")
    ] = False,
    remap: Annotated[
        list[str] | None, typer.Option(help="FROM:=TO, a ROS remapping; may be repeated.")
    ] = None,
    remaps: Annotated[
        str, typer.Option(help="YAML file of remappings, or the name of one in config: autoware.")
    ] = "",
    param: Annotated[
        list[str] | None, typer.Option(help="NODE:NAME:=VALUE, a parameter; may be repeated.")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What the nodes log.")] = LogLevel.info,
    separate: Annotated[
        bool, typer.Option("--separate", help="One process for each node instead of one for all.")
    ] = False,
    shared_memory: Annotated[
        bool,
        typer.Option(
            help="Give Fast DDS shared memory for whole images, unless "
            "FASTDDS_DEFAULT_PROFILES_FILE is set."
        ),
    ] = True,
    respawn: Annotated[
        bool, typer.Option("--respawn", help="Start a process again when it has died.")
    ] = False,
) -> None:
    """Run the perception nodes, in one process or one each, until Ctrl-C.

    \b
    Examples:
      ros_xai perception --config config/perception.yaml
      ros_xai perception --nodes depth,segmentation --remap image:=/front/image_rect
      ros_xai perception --remaps autoware --separate --respawn
      ros_xai perception --param depth:rings:=[56,40,24,8] --param depth:engine:=openvino
    """
    chosen = [name for name in nodes.split(",") if name] or [""]
    if unknown := [name for name in chosen if name not in NODES]:
        raise typer.BadParameter(
            f"expected some of {', '.join(NODES)}; got {', '.join(unknown) or 'none'}",
            param_hint="--nodes",
        )
    try:
        moved = [*_from_file(remaps), *(remap or [])]
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--remaps") from None
    if wrong := [each for each in moved if ":=" not in each]:
        raise typer.BadParameter(f"expected FROM:=TO; got {wrong[0]}", param_hint="--remap")
    if shared_memory:
        os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(_config_file("fastdds.xml")))
    values: dict[str, dict[str, Any]] = {"perception": {n: n in chosen for n in NODES}}
    for each in param or []:
        node, name, value = _parameter(each)
        values.setdefault(node, {})[name] = value
    with tempfile.TemporaryDirectory() as folder:
        files = [config] if config else []
        files.append(parameter_file(values, Path(folder)))
        arguments = ros_arguments(files, namespace, use_sim_time, moved, log_level.value)
        raise typer.Exit(_run(chosen, arguments, separate, respawn))


def _run(chosen: Sequence[str], arguments: list[str], separate: bool, respawn: bool) -> int:
    """Runs the nodes in this process, or in children; returns the exit code."""
    if not separate and not respawn:
        from ros_xai.nodes.host import run_all  # needs rclpy
        from ros_xai.nodes.perception import graph

        return run_all(graph, arguments)
    names = chosen if separate else ["perception"]
    commands = {n: [sys.executable, "-m", f"ros_xai.nodes.{n}", *arguments] for n in names}
    return supervise(commands, respawn, say=lambda text: typer.echo(text, err=True))


def parameter_file(values: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """A ROS parameter file of each node's values, whatever its namespace.

    On the command line ROS matches a node's name in the root namespace only.
    """
    path = folder / "parameters.yaml"
    content = {f"/**/{node}": {"ros__parameters": dict(each)} for node, each in values.items()}
    path.write_text(yaml.safe_dump(content))
    return path


def _parameter(text: str) -> tuple[str, str, Any]:
    """Node, name and value of NODE:NAME:=VALUE, the value as YAML."""
    left, separator, value = text.partition(":=")
    node, colon, name = left.partition(":")
    if not separator or not colon or node not in (*NODES, "perception"):
        raise typer.BadParameter(
            f"expected NODE:NAME:=VALUE with NODE one of {', '.join(NODES)}; got {text}",
            param_hint="--param",
        )
    try:
        return node, name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise typer.BadParameter(
            f"expected VALUE in YAML; got {text}: {_line(error)}", param_hint="--param"
        ) from None


def ros_arguments(
    files: Sequence[Path],
    namespace: str,
    use_sim_time: bool,
    remaps: Sequence[str],
    log_level: str,
) -> list[str]:
    """The --ros-args of every process; what comes later wins."""
    arguments = ["--ros-args", "--log-level", log_level]
    for file in files:
        arguments += ["--params-file", str(file)]
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace.strip('/')}"]
    if use_sim_time:
        arguments += ["-p", "use_sim_time:=true"]
    for remap in remaps:
        arguments += ["-r", remap]
    return arguments


def _from_file(name: str) -> list[str]:
    """FROM:=TO of each entry of a YAML file, given by path or by its name in config."""
    if not name:
        return []
    path = Path(name)
    if not path.suffix:
        path = _config_file(f"{name}.yaml")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {_line(error)}") from None
    if not isinstance(content, dict) or not all(
        isinstance(side, str) for pair in content.items() for side in pair
    ):
        raise ValueError(f"expected lines FROM: TO in {path}")
    return [f"{old}:={new}" for old, new in content.items()]


def _line(error: yaml.YAMLError) -> str:
    """What is wrong, without the text and the place that YAML shows below."""
    return getattr(error, "problem", None) or str(error)


def _config_file(name: str) -> Path:
    """A file of config, in the checkout or where pip has put it."""
    folders = (
        Path(__file__).resolve().parents[2] / "config",
        Path(sys.prefix) / "share" / "ros_xai" / "config",
    )
    found = [folder / name for folder in folders]
    return next((each for each in found if each.is_file()), found[0])
