"""`ros_xai bench`: run a benchmark of the checkout by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

CHECKOUT = Path(__file__).resolve().parents[2]


def bench(
    context: typer.Context,
    name: str = typer.Argument(help="A benchmark's name, `all`, or `list`."),
) -> None:
    """Run a benchmark; results go to docs/results/NAME.json. Options after NAME are its own.

    \b
    Examples:
      ros_xai bench list
      ros_xai bench message-conversion
      ros_xai bench depth-world --help
    """
    names = available()
    if name == "list":
        typer.echo("\n".join(names))
        return
    chosen = names if name == "all" else [name]
    if unknown := set(chosen) - set(names):
        typer.echo(f"no benchmark {unknown.pop()!r}; expected one of: {', '.join(names)}", err=True)
        raise typer.Exit(2)
    for each in chosen:
        module = f"benchmarks.{each.replace('-', '_')}"
        run = subprocess.run([sys.executable, "-m", module, *context.args], cwd=CHECKOUT)
        if run.returncode:
            raise typer.Exit(run.returncode)


def available() -> list[str]:
    """Names of the benchmarks: the modules of benchmarks/ that have a `main`."""
    files = (CHECKOUT / "benchmarks").glob("*.py")
    return sorted(f.stem.replace("_", "-") for f in files if "def main(" in f.read_text())
