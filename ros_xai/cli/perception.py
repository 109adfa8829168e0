"""`ros_xai perception`: the graph of perception.launch.py where `launch` is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from ros_xai.cli.processes import supervise

# As ros_xai.nodes.perception.NODES, which needs rclpy to be imported.
NODES = ("depth", "segmentation", "forecasting", "explanation")

app = typer.Typer(add_completion=False)


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
    chosen = [name for name in nodes.split(",") if name]
    if unknown := [name for name in chosen if name not in NODES]:
        raise typer.BadParameter(
            f"expected some of {', '.join(NODES)}; got {', '.join(unknown)}", param_hint="--nodes"
        )
    try:
        moved = [*_from_file(remaps), *(remap or [])]
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--remaps") from None
    for name, values, form in (("--remap", moved, "FROM:=TO"), ("--param", param or [], "A:B:=C")):
        if wrong := [value for value in values if ":=" not in value]:
            raise typer.BadParameter(f"expected {form}; got {wrong[0]}", param_hint=name)
    arguments = ros_arguments(config, namespace, use_sim_time, moved, param or [], log_level.value)
    if separate:
        modules = {name: f"ros_xai.nodes.{name}" for name in chosen}
    else:
        modules = {"perception": "ros_xai.nodes.perception"}
        for name in NODES:
            arguments += ["-p", f"perception:{name}:={str(name in chosen).lower()}"]
    if not separate and not respawn:
        from ros_xai.nodes.perception import main  # needs rclpy and torch

        main(arguments)
        return
    commands = {name: [sys.executable, "-m", m, *arguments] for name, m in modules.items()}
    raise typer.Exit(supervise(commands, respawn, say=lambda text: typer.echo(text, err=True)))


def ros_arguments(
    config: Path | None,
    namespace: str,
    use_sim_time: bool,
    remaps: Sequence[str],
    parameters: Sequence[str],
    log_level: str,
) -> list[str]:
    """The --ros-args of every process; what comes later wins."""
    arguments = ["--ros-args", "--log-level", log_level]
    if config:
        arguments += ["--params-file", str(config)]
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace.strip('/')}"]
    if use_sim_time:
        arguments += ["-p", "use_sim_time:=true"]
    for remap in remaps:
        arguments += ["-r", remap]
    for parameter in parameters:
        arguments += ["-p", parameter]
    return arguments


def _from_file(name: str) -> list[str]:
    """FROM:=TO of each entry of a YAML file, given by path or by its name in config."""
    if not name:
        return []
    path = Path(name)
    if not path.suffix:
        folders = (
            Path(__file__).resolve().parents[2] / "config",
            Path(sys.prefix) / "share" / "ros_xai" / "config",
        )
        named = [folder / f"{name}.yaml" for folder in folders]
        path = next((each for each in named if each.is_file()), named[0])
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not all(
        isinstance(side, str) for pair in content.items() for side in pair
    ):
        raise ValueError(f"expected lines FROM: TO in {path}")
    return [f"{old}:={new}" for old, new in content.items()]
