"""`ros_xai evaluate`: many bags, several configurations, one verdict."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ros_xai.core.config import ConfigError
from ros_xai.fleet import bags as finding
from ros_xai.fleet import conditions as conditioning
from ros_xai.fleet import report, run
from ros_xai.fleet.compare import LEAST_BAGS
from ros_xai.fleet.engines import Engine, Local, Ray
from ros_xai.fleet.tables import Store
from ros_xai.fleet.tasks import Needs, candidates
from ros_xai.replay.results import write_json

INPUTS = ("image", "image/compressed", "camera_info", "points")
BROKEN, WRONG, CONDITIONS, INTERRUPTED = 1, 2, 3, 130
SHOWN = 12  # differences in the terminal

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def evaluate(
    bags: Annotated[
        list[str],
        typer.Argument(help="Bags, folders of bags, patterns, or manifests (.yaml, .txt)."),
    ],
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="ROS parameter file of a candidate, compared with the first; default: none.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of results; a run goes on in it.")] = Path(
        "out/fleet"
    ),
    engine: Annotated[Literal["local", "ray"], typer.Option(help="What runs the tasks.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster, HOST:PORT or auto; default: a new one here.")
    ] = None,
    conditions: Annotated[
        Path | None,
        typer.Option(help="What every bag must satisfy (YAML).", exists=True, dir_okay=False),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, help="Tasks at a time, local engine; 0: cores / --cpus.")
    ] = 0,
    retries: Annotated[int, typer.Option(min=0, help="Further attempts at a failed task.")] = 2,
    cpus: Annotated[int, typer.Option(min=1, help="Cores, and threads, of a task.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a task.")] = 0.0,
    memory: Annotated[float, typer.Option(min=0.1, help="Memory of a task, GiB.")] = 2.0,
    timeout: Annotated[float, typer.Option(min=1, help="Longest time of a task, s.")] = 3600.0,
    remap: Annotated[
        list[str] | None, typer.Option(help="INPUT:=TOPIC as of `ros_xai replay`, for all bags.")
    ] = None,
) -> None:
    """Replay every bag in lock-step under every configuration and compare.

    Rows go to Parquet files in the folder of results; what is there already is not done again.
    Exit code: 0 all well, 1 bags that are broken or were given up, 2 wrong command, 3 conditions
    that do not hold.

    \b
    Examples:
      ros_xai evaluate drives/ --config old.yaml --config new.yaml
      ros_xai evaluate 'drives/**/*.mcap' --conditions conditions.yaml
      ros_xai evaluate fleet.yaml --engine ray --address auto --cpus 2
    """
    try:
        needs = Needs(cpus, gpus, round(memory * 2**30), timeout)
        found = candidates(config or [])
        plan = run.Plan(finding.find(bags), found, _topics(remap or []), needs, retries)
        names = [candidate.name for candidate in found]
        wanted = conditioning.load(conditions, names) if conditions else None
        store = Store(out)
        workers: Engine = (
            Ray(needs, address)
            if engine == "ray"
            else Local(jobs or max(1, (os.cpu_count() or 1) // cpus))
        )
    except (ConfigError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _Bars() as bars:
            summary = run.run(plan, store, workers, bars)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the same command goes on: {len(store.done())} tasks are done")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        workers.close()
    raise typer.Exit(_conclude(plan, store, summary, wanted))


def _conclude(
    plan: run.Plan,
    store: Store,
    summary: run.Summary,
    wanted: conditioning.Conditions | None,
) -> int:
    """Compare, write report and verdict, print them; the exit code."""
    found = report.findings(plan, store, summary)
    problems = report.problems(summary, found)
    baseline = plan.candidates[0].name
    broken = conditioning.broken(wanted, found.rows, baseline) if wanted else None
    too_many = conditioning.too_many(wanted, found.all) if wanted else ""
    page = report.write_report(plan, store, summary, found, broken, too_many)
    fails = {(b.bag, b.config) for b in broken or ()}
    code = BROKEN if problems else CONDITIONS if fails or too_many else 0
    write_json(
        store.folder / "verdict.json",
        {
            "exit_code": code,
            "problems": problems,
            "comparisons": [_plain(comparison) for comparison in found.all],
            "conditions": None
            if broken is None
            else [
                {
                    "bag": bag,
                    "config": name,
                    "pass": (bag, name) not in fails,
                    "broken": [b.text for b in broken if (b.bag, b.config) == (bag, name)],
                }
                for bag, name in found.rows
            ],
            "too_many": too_many,
        },
    )
    _print(summary, found, problems, len(fails), wanted is not None, too_many)
    typer.echo(f"rows:    {store.folder}/*/*.parquet\nreport:  {page}")
    return code


def _plain(comparison: report.Comparison) -> dict[str, Any]:
    known = comparison.verdict != "too few bags"
    measure = comparison.measure
    return {
        "config": comparison.candidate,
        "metric": measure.metric,
        "slice": f"{measure.kind} {measure.part}".strip(),
        "bags": comparison.bags,
        "baseline": comparison.baseline_mean,
        "candidate": comparison.candidate_mean,
        "difference": comparison.difference,
        "interval": [comparison.low, comparison.high] if known else None,
        "verdict": comparison.verdict,
    }


def _print(
    summary: run.Summary,
    found: report.Findings,
    problems: list[dict[str, str]],
    fails: int,
    conditioned: bool,
    too_many: str,
) -> None:
    console = Console()
    table = Table("against the first", "figure", "difference", "interval", "verdict")
    telling = [c for c in found.all if c.verdict in ("regression", "improvement")]
    for c in telling[:SHOWN]:
        interval = f"{c.low:+.4g} to {c.high:+.4g}"
        table.add_row(c.candidate, c.measure.name, f"{c.difference:+.4g}", interval, c.verdict)
    if telling:
        console.print(table)
        if len(telling) > SHOWN:
            typer.echo(f"and {len(telling) - SHOWN} more in the report")
    elif any(c.verdict == "none" for c in found.all):
        typer.echo("no difference between the configurations")
    elif found.comparisons:
        typer.echo(f"too few bags for a verdict: {LEAST_BAGS} at least")
    for problem in problems:
        where = f" ({problem['config']})" if problem["config"] else ""
        typer.echo(f"problem: {problem['bag']}{where}: {problem['problem']}", err=True)
    if conditioned:
        passed = len(found.rows) - fails
        typer.echo(f"conditions: {passed} pass, {fails} fail{too_many and f'; {too_many}'}")
    typer.echo(
        f"tasks: {summary.done} done, {summary.already} done before, "
        f"{len(summary.failures)} given up"
    )


def _topics(remaps: list[str]) -> dict[str, str]:
    topics = {}
    for remap in remaps:
        name, separator, topic = remap.partition(":=")
        if not separator or name not in INPUTS or not topic.startswith("/"):
            raise ConfigError(f"expected INPUT:=/TOPIC with INPUT of {INPUTS}; got {remap}")
        topics[name] = topic
    return topics


class _Rate(ProgressColumn):
    """Tasks an hour of this run, and the time that is left at that rate."""

    def render(self, task: Task) -> Text:
        fresh = task.completed - task.fields.get("already", 0)
        if not task.elapsed or fresh <= 0:
            return Text("")
        rate = fresh / task.elapsed
        left = (task.total or 0) - task.completed
        hours, seconds = divmod(round(left / rate), 3600)
        return Text(f"{3600 * rate:.0f}/h, {hours}:{seconds // 60:02}:{seconds % 60:02} left")


class _Bars(run.Progress):
    """A bar on stderr, a line for every task that does not end well."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Rate(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def hashing(self, bags: int) -> None:
        self._reading = self._bars.add_task("reading", total=None)

    def begin(self, total: int, done: int) -> None:
        self._bars.remove_task(self._reading)
        self._task = self._bars.add_task("replay", total=total, completed=done, already=done)

    def task(self, bag: str, config: str, outcome: str) -> None:
        if not outcome.startswith("again"):
            self._bars.advance(self._task)
        if outcome != "done":
            self._bars.console.print(f"{bag}, {config}: {outcome}", markup=False, highlight=False)
