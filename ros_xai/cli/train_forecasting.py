"""`ros_xai train forecasting`: the forecaster from simulated traffic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ros_xai.training.forecasting import OBJECTIVES


def forecasting(
    out: Annotated[Path, typer.Option(help="Traffic, checkpoints, weights.")] = Path(
        "out/train-forecasting"
    ),
    objective: Annotated[str, typer.Option(help=f"One of {', '.join(OBJECTIVES)}.")] = "cab",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    recordings: Annotated[
        int | None, typer.Option(min=1, help="Simulated recordings of 40 s.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
) -> None:
    """Simulate traffic and train the forecasting network on it.

    An interrupted run goes on where it was; another one needs another --out. The defaults are what
    made the shipped weights. Several processes:
    `torchrun --nproc-per-node 2 --no-python ros_xai train forecasting`

    \b
    Examples:
      ros_xai train forecasting
      ros_xai train forecasting --objective base --steps 300 --out out/base
    """
    if objective not in OBJECTIVES:
        raise typer.BadParameter(
            f"expected one of {', '.join(OBJECTIVES)}; got {objective}", param_hint="--objective"
        )
    from ros_xai.training import shipped_forecasting as shipped  # the world takes long to import
    from ros_xai.training.distributed import process_group

    config = shipped.ShippedConfig()
    config = replace(
        config,
        objective=objective,
        recordings=recordings or config.recordings,
        training=replace(config.training, steps=steps or config.training.steps),
    )
    try:
        with process_group() as process:
            network = shipped.make(out, config, seed, process)
        if not process.is_first:
            return
        path = out / "forecasting.safetensors"
        given = {"objective": objective, "steps": steps, "recordings": recordings, "seed": seed}
        options = [f"--{name} {value}" for name, value in given.items() if value is not None]
        command = " ".join(["ros_xai train forecasting", *options])
        shipped.save(network, path, config, command=command, losses=shipped.last_losses(out))
    except (OSError, ValueError, FloatingPointError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{path}: use it by `weights: {path}` in the forecasting node's parameters")
