"""The `ros_xai` command: one file per group of sub-commands, put together here."""

from __future__ import annotations

import typer

import ros_xai
from ros_xai.cli import bag, world
from ros_xai.cli.bench import bench
from ros_xai.cli.replay import demo, replay, report

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(replay)
app.command()(report)
app.add_typer(bag.app, name="bag")
app.add_typer(world.app, name="world")
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


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
