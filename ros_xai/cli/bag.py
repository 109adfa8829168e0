"""`ros_xai bag`: make and inspect bags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ros_xai.data.kitti import RINGS, KittiClip
from ros_xai.replay import from_av2 as av2
from ros_xai.replay.bag import Bag, BagError
from ros_xai.replay.from_kitti import convert
from ros_xai.replay.scan import Scan, scan

app = typer.Typer(help="Make and inspect bags.", no_args_is_help=True)


@app.command("from-kitti")
def from_kitti(
    folder: Annotated[Path, typer.Argument(help="Clip: calibration.json, image/ and lidar/.")],
    out: Annotated[Path, typer.Argument(help="Bag to write (.mcap).")],
    rings: Annotated[
        str, typer.Option(help="Beams of /lidar/points, 0 = top of 64; /gt/points keeps all.")
    ] = ",".join(map(str, RINGS)),
) -> None:
    """Turn a clip of KITTI raw into a bag with camera, few-beam LiDAR and ground truth.

    \b
    Examples:
      ros_xai bag from-kitti $ROS_XAI_DATA/kitti kitti.mcap
      ros_xai bag from-kitti $ROS_XAI_DATA/kitti narrow.mcap --rings 5,7,9,11
    """
    try:
        chosen = [int(ring) for ring in rings.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"expected numbers such as 56,40,24,8; got {rings}", param_hint="--rings"
        ) from None
    try:
        clip = KittiClip(folder)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("frames", total=len(clip))
            convert(clip, out, chosen, lambda: progress.advance(task))
    except (OSError, ValueError) as error:
        raise _failure(error) from None
    typer.echo(f"{out}: {len(clip)} frames, {out.stat().st_size / 1e6:.1f} MB")


@app.command("from-av2")
def from_av2(
    folder: Annotated[Path, typer.Argument(help="Sensor log: annotations.parquet, map.json, ...")],
    out: Annotated[Path, typer.Argument(help="Bag to write (.mcap).")],
) -> None:
    """Turn the tracks and the map of an Argoverse 2 log into a bag for the forecasting node.

    \b
    Examples:
      ros_xai bag from-av2 $ROS_XAI_DATA/av2/3b3570b4-7b0b-3268-a571-b0889dbf40b6 av2.mcap
    """
    try:
        frames = av2.convert(folder, out)
    except (OSError, ValueError, ImportError) as error:
        raise _failure(error) from None
    typer.echo(f"{out}: {frames} frames, {out.stat().st_size / 1e6:.1f} MB")


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Bag: .mcap, .db3 or a rosbag2 folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """List a bag's topics, rates and gaps, and count its bad messages.

    \b
    Examples:
      ros_xai bag info kitti.mcap
      ros_xai bag info my_rosbag2_folder --json | jq .topics
    """
    try:
        bag = Bag(path)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("messages", total=None)
            found = scan(bag, lambda: progress.advance(task))
    except (OSError, BagError) as error:
        raise _failure(error) from None
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        _print(path, found)


def _print(path: Path, found: Scan) -> None:
    counts = f"{found.messages} messages, {found.duration_s:.2f} s"
    typer.echo(f"{path}: {counts}, sha256 {found.sha256[:16]}")
    table = Table("topic", "type", "messages", "Hz", "longest gap", "problems")
    for topic in found.topics:
        problems = ", ".join(f"{count} {name}" for name, count in topic.problems.items())
        table.add_row(
            topic.topic,
            topic.type.replace("/msg/", "/"),
            str(topic.messages),
            "" if topic.rate_hz is None else f"{topic.rate_hz:.1f}",
            "" if topic.longest_gap_s is None else f"{topic.longest_gap_s:.2f} s",
            problems.replace("_", " ") or "none",
        )
    Console().print(table)
    for damage in found.damages:
        typer.echo(f"damaged: {damage}")
    for text in found.foreign:
        typer.echo(f"not played: {text}")


def _failure(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)
