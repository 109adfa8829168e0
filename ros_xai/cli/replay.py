"""`ros_xai replay`, `report` and `demo`: from a bag to figures."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ros_xai.core.config import ConfigError
from ros_xai.replay import run as replaying
from ros_xai.replay.bag import BagError
from ros_xai.replay.evaluate import percentiles
from ros_xai.replay.report import write_report
from ros_xai.replay.results import Results, read_json
from ros_xai.replay.session import Pace, ReplayError
from ros_xai.replay.topics import TopicError

IMAGES = ("image", "image/compressed")
TRACKS = ("tracks", "map", "map/lane_dividers", "map/crossings")
DEPTH_INPUTS = (*IMAGES, "camera_info", "points")
# Name: module and class (torch takes seconds to import), inputs, and the topic of its answers.
NODES = {
    "depth": ("depth", "DepthNode", DEPTH_INPUTS, replaying.DEPTH),
    "segmentation": ("segmentation", "SegmentationNode", IMAGES, replaying.LABELS),
    "forecasting": ("forecasting", "ForecastingNode", TRACKS, replaying.FORECAST),
}
INPUTS = sorted({name for _, _, inputs, _ in NODES.values() for name in inputs})
FAILURES = (OSError, BagError, ReplayError, ConfigError, RuntimeError)


def replay(
    bag: Annotated[Path, typer.Argument(help="Bag: .mcap, .db3 or a rosbag2 folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of results; default: out/NAME_OF_THE_BAG.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="ROS parameter file of the nodes.", exists=True, dir_okay=False),
    ] = None,
    nodes: Annotated[
        str, typer.Option(help=f"Nodes to run, by comma, of {', '.join(NODES)}.")
    ] = "depth",
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="Every message waits for its answers: repeatable.")
    ] = False,
    rate: Annotated[
        float, typer.Option(min=0.01, help="Speed against the recording, in real-time mode.")
    ] = 1.0,
    remap: Annotated[
        list[str] | None,
        typer.Option(help="INPUT:=TOPIC where the bag leaves a choice; may be repeated."),
    ] = None,
) -> None:
    """Play a bag into the nodes, record their answers, and report.

    \b
    Examples:
      ros_xai replay kitti.mcap --lockstep --out out/kitti
      ros_xai replay drive.db3 --rate 0.5
      ros_xai replay drive.mcap --nodes depth,segmentation
      ros_xai replay av2.mcap --nodes forecasting --lockstep
      ros_xai replay my_rosbag2_folder --remap image:=/front/image_rect --config my.yaml
    """
    if lockstep and rate != 1.0:
        raise typer.BadParameter("lock-step has no rate; give one of the two", param_hint="--rate")
    folder = out or Path("out") / bag.stem
    pace = Pace(lockstep=lockstep, rate=rate)
    plan = replaying.Plan(bag, folder, pace, _topics(remap or []), config)
    with _failures():
        _replay(plan, _kinds(nodes))


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results of a replay.")],
    bag: Annotated[
        Path | None, typer.Option(help="The bag, if it is no longer where it was.")
    ] = None,
) -> None:
    """Compute the figures and the report of a replay anew from its recorded files.

    \b
    Examples:
      ros_xai report out/kitti
      ros_xai report out/kitti --bag /media/drives/kitti.mcap
    """
    with _failures():
        _conclude(Results(folder, bag))


def demo(
    out: Annotated[Path, typer.Option(help="Folder of results.")] = Path("out/demo"),
) -> None:
    """Make a bag of the synthetic world, replay it through the depth node, and report.

    The bag is made once and kept in the user's cache.

    \b
    Examples:
      ros_xai demo
      ros_xai demo --out /tmp/demo
    """
    from ros_xai.replay.demo import demo_bag  # the world's ray caster takes long to import

    with _failures():
        with RichProgress() as progress:
            progress.stage("world")
            bag = demo_bag(progress.set)
        typer.echo(f"bag: {bag}")
        _replay(replaying.Plan(bag, out, Pace(lockstep=True), {}), _kinds("depth"))


def _replay(plan: replaying.Plan, kinds: list[replaying.NodeKind]) -> None:
    with RichProgress() as progress:
        replaying.run(plan, kinds, progress)
    results = Results(plan.out)
    _conclude(results)
    if stopped := results.run["stopped"]:
        typer.echo(f"error: stopped before the end: {stopped}", err=True)
        raise typer.Exit(1)


def _conclude(results: Results) -> None:
    """Evaluate, write the report, print the figures; exit code 1 when nothing was answered."""
    with RichProgress() as progress:
        progress.stage("evaluate", len(results.timing["answers"]))
        results.evaluate(progress.step)
        progress.stage("report")
        page = write_report(results)
    metrics = read_json(results.folder / "metrics.json")
    shown = dict(metrics)
    if results.run["pace"]["lockstep"]:  # where latency_ms is not the wall clock's
        wall = percentiles([answer["wall_ms"] for answer in results.timing["answers"]])
        shown |= {f"latency_ms.{name}, wall clock": ms for name, ms in wall.items()}
    _print(shown, page)
    if not metrics["frames_out"]:
        why = "the log above and the report say why"
        if not metrics["frames_in"]:
            why = "the bag holds no input that the nodes answer; the report lists its topics"
        typer.echo(f"error: no frame was answered; {why}", err=True)
        raise typer.Exit(1)


def _print(metrics: dict[str, Any], page: Path) -> None:
    table = Table("figure", "value")
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        if not name.startswith(("depth.range.", "depth.beam.", "segmentation.iou.")):
            table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
    typer.echo(f"figures: {page.parent / 'metrics.json'}\nreport:  {page}")


def _kinds(names: str) -> list[replaying.NodeKind]:
    kinds = []
    for name in [each for each in names.split(",") if each] or [""]:
        if name not in NODES:
            raise typer.BadParameter(
                f"expected some of {', '.join(NODES)}; got {name!r}", param_hint="--nodes"
            )
        module, kind, inputs, answer = NODES[name]
        make = getattr(importlib.import_module(f"ros_xai.nodes.{module}"), kind)
        kinds.append(replaying.NodeKind(make, inputs, answer))
    return kinds


def _topics(remaps: list[str]) -> dict[str, str]:
    topics = {}
    for remap in remaps:
        name, separator, topic = remap.partition(":=")
        if not separator or name not in INPUTS or not topic.startswith("/"):
            raise typer.BadParameter(
                f"expected INPUT:=/TOPIC with INPUT one of {', '.join(INPUTS)}; got {remap}",
                param_hint="--remap",
            )
        topics[name] = topic
    return topics


@contextmanager
def _failures() -> Iterator[None]:
    """One line and an exit code: 2 where the command was wrong, 1 where the work failed."""
    try:
        yield
    except typer.Exit:  # a RuntimeError too
        raise
    except TopicError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except FAILURES as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


class RichProgress(replaying.Progress):
    """A bar per stage, on stderr."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> RichProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end_stage()
        self._bars.stop()

    def stage(self, name: str, total: int | None = None) -> None:
        self._end_stage()
        self._task = self._bars.add_task(name, total=total)

    def _end_stage(self) -> None:
        """Fill the bar whose total was not known before, and stop its clock."""
        for task in self._bars.tasks:
            if task.total is None:
                self._bars.update(task.id, total=task.completed)
            self._bars.stop_task(task.id)

    def step(self) -> None:
        self._bars.advance(self._task)

    def set(self, done: int, total: int) -> None:
        """The stage has come this far."""
        self._bars.update(self._task, completed=done, total=total)
