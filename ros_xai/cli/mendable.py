"""What a user can mend is told in one line, not as a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ros_xai.engines.base import EngineError


@contextmanager
def mendable() -> Iterator[None]:
    """Data, files, numbers or engines that cannot be used end the command with exit code 1."""
    try:
        yield
    except (EngineError, FloatingPointError, OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
