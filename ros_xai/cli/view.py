"""`ros_xai view`: a bag in the browser, for people without RViz."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import Progress

from ros_xai.replay.bag import Bag, BagError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def view(
    bag: Annotated[Path, typer.Argument(help="Bag: .mcap, .db3 or a rosbag2 folder.")],
    outputs: Annotated[
        Path | None, typer.Option(help="A second bag shown with it: outputs.mcap of a replay.")
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of the page; the data take the next one.", min=1, max=65534)
    ] = 9090,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    save: Annotated[
        Path | None, typer.Option(help="Write a .rrd file instead of opening the page.")
    ] = None,
) -> None:
    """Show a bag in the browser: images, depth, clouds, boxes, forecasts, latencies.

    This command serves the page and the data, to the whole network of this machine, until Ctrl-C.

    \b
    Examples:
      ros_xai view drive.mcap
      ros_xai view drive.mcap --outputs out/drive/outputs.mcap
      ros_xai view drive.db3 --save drive.rrd
    """
    try:
        import rerun as rr

        from ros_xai.replay.view import log_bag
    except ModuleNotFoundError as missing:
        typer.echo(
            f"error: {missing.name} is not installed: pip install 'ros_xai[view]' "
            "(and 'ros_xai[ros]' or a sourced ROS 2)",
            err=True,
        )
        raise typer.Exit(2) from None
    try:
        bags = [Bag(path) for path in (bag, outputs) if path]
    except (OSError, BagError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    with rr.RecordingStream("ros_xai") as recording:
        if save:
            recording.save(save)
        else:
            address = recording.serve_grpc(grpc_port=port + 1)
            rr.serve_web_viewer(web_port=port, open_browser=browser, connect_to=address)
            typer.echo(f"http://localhost:{port}/?url={quote(address, safe='')}")
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("messages", total=None)
            for each in bags:
                for topic, count in log_bag(
                    each, recording, lambda: progress.advance(task)
                ).items():
                    typer.echo(f"{topic}: {count}")
        recording.flush()
        if save:
            typer.echo(f"{save}: {save.stat().st_size / 1e6:.1f} MB; open it with: rerun {save}")
            return
        typer.echo("Ctrl-C ends the page.")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return
