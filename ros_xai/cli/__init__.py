"""The `ros_xai` command: one file per group of sub-commands, put together here."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

import ros_xai
from ros_xai.cli import bag, world
from ros_xai.cli.bench import bench

ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}

# What imports torch, which takes seconds: the module is loaded when the command is called.
LATER = {
    "train": "Train networks, or adapt them to recorded drives.",
    "perception": "Run the perception nodes, in one process or one each.",
    "view": "Show a bag in the browser.",
    "evaluate": "Replay many bags under several configurations and compare them.",
    "generate": "Make layouts of a given palette, and images of them.",
    "prune": "Make a trained network smaller, without data or training.",
    "engines": "List the engines that networks can run on.",
    "explain": "Show which parts of an image a network's answer rests on.",
}


class _LoadsLater(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in LATER:
            module = importlib.import_module(f"ros_xai.cli.{args[0]}")
            self.add_command(typer.main.get_command(module.app), args[0])
        return super().resolve_command(ctx, args)


def _placeholder() -> None:
    """Stands in the list of commands; `_LoadsLater` puts the group in its place."""


app = typer.Typer(
    cls=_LoadsLater,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _needs_ros() -> None:
    """Needs rclpy, which is not installed."""
    typer.echo(
        "error: this command needs rclpy: source a ROS 2 installation, "
        "or pip install 'ros_xai[ros]'",
        err=True,
    )
    raise typer.Exit(2)


try:
    from ros_xai.cli.replay import demo, replay, report
except ModuleNotFoundError as missing:
    if missing.name != "rclpy":
        raise
    # A machine that only renders or trains has no ROS.
    for name in ("demo", "replay", "report"):
        app.command(name, context_settings=ANY_ARGUMENTS)(_needs_ros)
else:
    for command in (demo, replay, report):
        app.command()(command)

app.add_typer(bag.app, name="bag")
app.add_typer(world.app, name="world")
for name, summary in LATER.items():
    app.command(name, help=summary)(_placeholder)
# What follows the name, --help too, is the benchmark's.
app.command(context_settings={**ANY_ARGUMENTS, "allow_interspersed_args": False})(bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(ros_xai.__version__)
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Explainable onboard perception of a self-driving car, as ROS 2 nodes."""
