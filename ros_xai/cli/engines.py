"""`ros_xai engines`: what can run networks here, and why the rest cannot."""

from __future__ import annotations

import typer

from ros_xai.engines.backends import availability

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def engines() -> None:
    """List the engines that networks can run on, and why the others are missing.

    \b
    Examples:
      ros_xai engines
    """
    for engine in availability():
        typer.echo(f"{engine.name:<12} {'yes' if engine.available else 'no ':<4} {engine.detail}")
