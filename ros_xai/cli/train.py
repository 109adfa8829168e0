"""`ros_xai train`: networks from rendered worlds, and their adaptation to a recorded drive."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from ros_xai.cli.train_forecasting import forecasting
from ros_xai.cli.train_segmentation import segmentation
from ros_xai.data.depth import KittiDrive, Loaded, world_drives
from ros_xai.data.kitti import RINGS, TRAIN_FRAMES, KittiClip
from ros_xai.depth.estimator import load_card, load_network
from ros_xai.replay.bag import BagError
from ros_xai.replay.depth_drive import depth_drive
from ros_xai.replay.topics import TopicError
from ros_xai.training import shipped_depth
from ros_xai.training.adaptation import AdaptationConfig, AdaptationReport, adapt
from ros_xai.training.checkpoint import save_weights, write_atomic
from ros_xai.training.distributed import process_group

app = typer.Typer(
    help="Train networks, or adapt them to a recorded drive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
STEPS = (
    f"Training steps; default: {AdaptationConfig.steps} at most to adapt, "
    f"{shipped_depth.ShippedConfig().loop.steps} with --world."
)
app.command()(segmentation)
app.command()(forecasting)


@app.command()
def depth(
    bag: Annotated[Path | None, typer.Option(help="Recorded drive to adapt to.")] = None,
    kitti: Annotated[Path | None, typer.Option(help="KITTI clip to adapt to.")] = None,
    world: Annotated[Path | None, typer.Option(help="World dataset to train on.")] = None,
    out: Annotated[Path, typer.Option(help="Weights, log, report.")] = Path("out/train-depth"),
    weights: Annotated[Path | None, typer.Option(help="Start here, not at the shipped.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help=STEPS)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    beams: Annotated[int, typer.Option(min=1, help="Beams of a cloud without ring field.")] = 4,
) -> None:
    """Train the depth network, or fine-tune it on camera and few beams, without labels.

    With --bag (or --kitti) the network adapts by LiDARTouch's losses, stops when beams that are
    hidden from it are no longer estimated better, and reports both scores; an interrupted run
    goes on where it was. With --world it is trained from nothing on rendered drives; several
    processes by `torchrun --nproc-per-node 2 --no-python ros_xai train depth --world DIR`.

    \b
    Examples:
      ros_xai train depth --bag my.mcap --out out/mine
      ros_xai train depth --kitti $ROS_XAI_DATA/kitti --steps 200
      ros_xai world dataset depth && ros_xai train depth --world DIR --steps 2400
    """
    if sum(source is not None for source in (bag, kitti, world)) != 1:
        raise typer.BadParameter("expected exactly one of --bag, --kitti and --world")
    try:
        if world is not None:
            _from_world(world, out, steps, seed)
            return
        if bag is not None:
            drive = depth_drive(bag, beams)
            rings = sorted({int(r) for sample in drive.samples for r in sample.ring}, reverse=True)
        else:
            assert kitti is not None
            rings = list(RINGS)
            clip = KittiClip(kitti)
            drive = Loaded.of(KittiDrive(clip, TRAIN_FRAMES[: len(clip)]))
        _adapt(drive, rings, weights, out, steps, seed)
    except (BagError, TopicError, OSError, ValueError, FloatingPointError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _from_world(world: Path, out: Path, steps: int | None, seed: int) -> None:
    config = shipped_depth.ShippedConfig()
    loop = replace(config.loop, seed=seed, steps=steps or config.loop.steps)
    config = replace(config, loop=loop)
    with process_group() as process:
        learner, losses = shipped_depth.train(world_drives(world), out, config, process)
        if process.is_first:
            path = out / "depth.safetensors"
            shipped_depth.save(learner, path, config, data=str(world.name), losses=losses)
            typer.echo(f"{path}: {losses}")


def _adapt(
    drive: Loaded, rings: list[int], weights: Path | None, out: Path, steps: int | None, seed: int
) -> None:
    network = load_network(weights)
    config = AdaptationConfig(seed=seed)
    config = replace(config, steps=steps or config.steps)
    torch.manual_seed(seed)
    card = load_card(weights)
    with process_group() as process:
        report = adapt(network, card, drive, rings, out, config, process)
        if not process.is_first:
            return
    path = out / "depth.safetensors"
    save_weights(path, network)
    document = {"network": asdict(card), "adapted_to": drive.name, "report": asdict(report)}
    write_atomic(path.with_suffix(".json"), (json.dumps(document, indent=1) + "\n").encode())
    write_atomic(out / "report.json", json.dumps(asdict(report), indent=1).encode())
    _show(report)
    typer.echo(f"{path}: use it by `weights: {path}` in the depth node's parameters")


def _show(report: AdaptationReport) -> None:
    table = Table(
        title=f"hidden beams, before and after {report.steps} steps on {report.frames} frames"
    )
    for column in ("", "before", "after"):
        table.add_column(column, justify="right")
    for name, value in report.before.items():
        table.add_row(name, f"{value:.4f}", f"{report.after[name]:.4f}")
    Console().print(table)
