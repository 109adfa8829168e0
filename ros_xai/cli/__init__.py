"""The `ros_xai` command: one file per group of sub-commands, put together here."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Explainable onboard perception: depth from a camera and a few LiDAR beams, on ROS 2.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
