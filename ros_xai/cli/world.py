"""``ros_xai world``: make bags and datasets of the synthetic town, look at it, check it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ros_xai.world.bag import BagConfig, write_bag
from ros_xai.world.camera import CAMERAS, Camera
from ros_xai.world.check import check as measure
from ros_xai.world.dataset import PRESETS, DatasetConfig, write_dataset
from ros_xai.world.domains import DOMAINS
from ros_xai.world.domains import domain as preset
from ros_xai.world.drive import drive
from ros_xai.world.lidar import Lidar, hdl64
from ros_xai.world.network import NETWORKS
from ros_xai.world.preview import contact_sheet

app = typer.Typer(help="The synthetic town: bags, datasets, checks.", no_args_is_help=True)


@app.command()
def bag(
    out: Annotated[Path, typer.Argument(help="Bag to write (.mcap).")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = BagConfig.seed,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length at 10 Hz.")] = BagConfig.seconds,
    network: Annotated[str, typer.Option(help=", ".join(NETWORKS) + ".")] = "town",
    domain: Annotated[str, typer.Option(help=", ".join(DOMAINS) + ".")] = "clear",
    camera: Annotated[str, typer.Option(help="Mounting and focal length: a or b.")] = "a",
    width: Annotated[int, typer.Option(min=16, help="Image width, pixels.")] = 640,
    height: Annotated[int, typer.Option(min=16, help="Image height, pixels.")] = 192,
    distortion: Annotated[
        tuple[float, float, float, float], typer.Option(help="Lens: k1 k2 p1 p2 of plumb_bob.")
    ] = Camera.distortion,
    beams: Annotated[
        int, typer.Option(min=1, max=256, help="LiDAR beams from +2 to -24.8 degrees.")
    ] = 64,
    range_noise: Annotated[
        float, typer.Option(min=0, max=10, help="Deviation of LiDAR ranges, m.")
    ] = Lidar.noise,
    drop_out: Annotated[
        float, typer.Option(min=0, max=1, help="Share of returns lost.")
    ] = Lidar.drop_out,
    motion_distortion: Annotated[
        bool, typer.Option(help="LiDAR points as a moving sensor gives them: not compensated.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Drive through the town and record camera, LiDAR, TF, tracks, map and ground truth.

    \b
    Example: ros_xai world bag demo.mcap --seed 3 --seconds 10 --domain dusk
    """
    _known(camera, CAMERAS, "--camera")
    view = replace(CAMERAS[camera], width=width, height=height, distortion=distortion)
    lidar = Lidar(
        hdl64(beams),
        noise=range_noise,
        drop_out=drop_out,
        motion_distortion=motion_distortion,
    )
    try:
        config = BagConfig(seed, seconds, network, domain, view, lidar)
        with Progress() as progress:
            task = progress.add_task("frames", total=config.frames)
            write_bag(config, out, jobs, lambda done, _: progress.update(task, completed=done))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{out}: {config.frames} frames, {out.stat().st_size / 1e6:.1f} MB")


def _known(value: str, known: dict[str, object], option: str) -> None:
    if value not in known:
        raise typer.BadParameter(f"expected one of {sorted(known)}, got {value!r} for {option}")


@app.command()
def dataset(
    kind: Annotated[str, typer.Argument(help="depth, segmentation, forecasting or layouts.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder; by default one in the user's cache.")
    ] = None,
    sequences: Annotated[
        int | None, typer.Option(min=1, help="Drives, each in a town of its own.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames per drive.")] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Steps of 0.1 s between frames.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Image width, pixels.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Image height, pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same bytes.")] = None,
    domains: Annotated[str | None, typer.Option(help="Comma-separated; taken in turns.")] = None,
    networks: Annotated[str | None, typer.Option(help="Comma-separated; taken in turns.")] = None,
    camera: Annotated[str | None, typer.Option(help="Mounting and focal length: a or b.")] = None,
    vary_camera: Annotated[
        bool | None, typer.Option(help="Another mounting and focal length for each drive.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Write arrays for training; an interrupted run goes on where it stopped.

    What is not given is as the kind has it.

    \b
    Examples:
      ros_xai world dataset depth --sequences 40 --frames 50 --out data/depth
      ros_xai world dataset segmentation --domains clear,dusk,night
      ros_xai world dataset forecasting
    """
    _known(kind, dict(PRESETS), "KIND")
    given = {
        "sequences": sequences,
        "frames": frames,
        "stride": stride,
        "width": width,
        "height": height,
        "seed": seed,
        "camera": camera,
        "vary_camera": vary_camera,
        "domains": tuple(domains.split(",")) if domains else None,
        "networks": tuple(networks.split(",")) if networks else None,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    with Progress() as progress:
        task = progress.add_task("sequences", total=None)
        try:
            config = DatasetConfig(**{"kind": kind, **PRESETS[kind], **chosen})
            folder = write_dataset(
                config,
                out,
                jobs,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo(str(folder))


@app.command()
def check(
    seed: Annotated[int, typer.Option(help="Seed of the drive that is measured.")] = 0,
    seconds: Annotated[float, typer.Option(help="Length of the drive.")] = 20.0,
    network: Annotated[str, typer.Option(help=", ".join(NETWORKS) + ".")] = "town",
    domain: Annotated[str, typer.Option(help="Domain of the compared images.")] = "clear",
) -> None:
    """Measure what the world promises; ends with 1 when a promise is broken.

    \b
    Example: ros_xai world check --seed 4 --network curves
    """
    try:
        found = measure(drive(seed, seconds, network), Camera(), preset(domain))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    table = Table("invariant", "measured", "bound", "")
    for row in found:
        verdict = "holds" if row.holds else "BROKEN"
        table.add_row(row.name, f"{row.value:.4f}", f"{row.bound:.4f}", verdict)
    Console().print(table)
    if not all(row.holds for row in found):
        raise typer.Exit(1)


@app.command()
def preview(
    out: Annotated[Path, typer.Argument(help="Picture to write (.png).")],
    seed: Annotated[int, typer.Option(help="Seed of the drive.")] = 4,
    step: Annotated[int, typer.Option(min=0, help="Step of 0.1 s.")] = 90,
    network: Annotated[str, typer.Option(help=", ".join(NETWORKS) + ".")] = "grid",
    width: Annotated[int, typer.Option(min=16, help="Width of one panel, pixels.")] = 352,
    height: Annotated[int, typer.Option(min=16, help="Height of one panel, pixels.")] = 150,
) -> None:
    """Show one moment in every domain, with depth, classes and instances.

    \b
    Example: ros_xai world preview sheet.png --seed 10 --step 100
    """
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"expected a picture to write that ends in .png; got {out}")
    try:
        run = drive(seed, (step + 1) / 10, network)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    sheet = contact_sheet(run, step, Camera(width=width, height=height))
    if not cv2.imwrite(str(out), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise typer.BadParameter(f"expected a path that can be written, got {out}")
    typer.echo(f"{out}: {out.stat().st_size / 1e3:.0f} kB")
