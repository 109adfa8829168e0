"""`ros_xai prune`: a trained network made smaller without data, as a bundle for any engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ros_xai.cli.prune_tasks import Task, depth_task, segmentation_task
from ros_xai.compression import OutputError, PrunedModel, output_error, red, red_pp
from ros_xai.compression.merging import Linkage, Strategy
from ros_xai.core.config import ConfigError
from ros_xai.data.segmentation import DataError
from ros_xai.engines.base import Engine, EngineError, measure, warm_up
from ros_xai.engines.bundle import write_bundle
from ros_xai.engines.compile import ENGINE_NAMES, EngineName, to_onnx
from ros_xai.engines.int8 import quantize_int8, weight_bits
from ros_xai.segmentation.bundle import BundleError

JUDGE: EngineName = "openvino"  # what metric and error are measured on, else onnxruntime or torch
INT8_ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
ROUNDS = 15

app = typer.Typer(
    help="Make a trained network smaller, without data or training.\n\n"
    "Example: ros_xai prune depth --method red++ --alpha 0.1 --out bundle/",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Method = Annotated[Literal["red", "red++"], typer.Option(help="RED, or with input splitting.")]
Alpha = Annotated[
    float, typer.Option(min=0, max=1, help="Share of channel pairs that may be merged.")
]
How = Annotated[Strategy, typer.Option(help="How alpha is spread over depth.")]
Link = Annotated[
    Linkage, typer.Option(help="complete: no chains of neighbours in one class; loses less.")
]
Multiple = Annotated[
    int,
    typer.Option(min=1, help="Keep channels by so many: 16 is what a CPU's vector register holds."),
]
Weights = Annotated[Path | None, typer.Option(help="Not the shipped network.")]
Out = Annotated[Path, typer.Option(help="Folder of the bundle.")]
Int8 = Annotated[
    bool,
    typer.Option("--int8", help="Quantise to INT8, calibrated on images that it is not judged on."),
]


@app.command()
def depth(
    method: Method = "red++",
    alpha: Alpha = 0.0,
    strategy: How = "constant",
    linkage: Link = "connected",
    multiple: Multiple = 1,
    weights: Weights = None,
    kitti: Annotated[
        Path | None, typer.Option(help="KITTI clip to judge on; default: $ROS_XAI_DATA/kitti.")
    ] = None,
    int8: Int8 = False,
    out: Out = Path("out/depth-bundle"),
) -> None:
    """Compress the depth network; judge it on KITTI where that is at hand.

    \b
    Examples:
      ros_xai prune depth --method red++ --alpha 0.1 --out bundle/
      ros_xai prune depth --alpha 0.1 --linkage complete --multiple 16 --kitti my/clip
    """
    options = {
        "method": method, "alpha": alpha, "strategy": strategy, "linkage": linkage,
        "multiple": multiple,
    }  # fmt: skip
    _run(lambda: depth_task(weights, kitti or _data("kitti")), options, int8, out)


@app.command()
def segmentation(
    method: Method = "red++",
    alpha: Alpha = 0.0,
    strategy: How = "constant",
    linkage: Link = "connected",
    multiple: Multiple = 1,
    weights: Weights = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images to judge on; default, of CamVid's: $ROS_XAI_DATA/camvid/val."
        ),
    ] = None,
    int8: Int8 = False,
    out: Out = Path("out/segmentation-bundle"),
) -> None:
    """Compress the segmentation network; judge it on labelled images where they are at hand.

    \b
    Examples:
      ros_xai prune segmentation --alpha 0.002 --linkage complete --out bundle/
      ros_xai prune segmentation --method red --weights mine.safetensors
    """
    options = {
        "method": method, "alpha": alpha, "strategy": strategy, "linkage": linkage,
        "multiple": multiple,
    }  # fmt: skip
    _run(lambda: segmentation_task(weights, labelled, _data("camvid/val")), options, int8, out)


def _data(name: str) -> Path | None:
    folder = os.environ.get("ROS_XAI_DATA")
    path = Path(folder) / name if folder else None
    return path if path is not None and path.is_dir() else None


def _run(make: Callable[[], Task], options: dict[str, Any], int8: bool, out: Path) -> None:
    try:
        task = make()
        figures = compress(task, options, int8, out)
    except (
        BundleError, ConfigError, DataError, EngineError, OSError, ValueError
    ) as error:  # fmt: skip
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    _show(figures)
    typer.echo(f"{out}: use it by `engine: {out}` in the {task.name} node's parameters")


def compress(task: Task, options: dict[str, Any], int8: bool, out: Path) -> dict[str, Any]:
    """Compress, judge, write the bundle; the figures on its card."""
    method = red_pp if options["method"] == "red++" else red
    how = {name: value for name, value in options.items() if name != "method"}
    pruned = method(task.module, task.example, **how)
    model = to_onnx(task.deploy(pruned.module), task.signature)
    if int8:
        if not task.calibration:
            raise EngineError("--int8 is calibrated on images: give some, or set ROS_XAI_DATA")
        model = quantize_int8(model, [task.named(x) for x in task.calibration])
    figures = judge(task, pruned, model, int8)
    write_bundle(
        out,
        model,
        pruned.module.state_dict(),
        task.name,
        {name: tuple(x.shape) for name, x in zip(task.signature.inputs, task.example)},
        origin=task.origin,
        method={**options, "int8": int8},
        figures=figures,
        **({"weight_bits": weight_bits()} if int8 else {}),
        **task.card,
    )
    return figures


def judge(task: Task, pruned: PrunedModel, model: bytes, int8: bool) -> dict[str, Any]:
    """The report: sizes, and what the images and this machine tell of the graph as deployed."""
    engines: dict[str, tuple[Engine, Engine]] = {}
    for name in INT8_ENGINES if int8 else ENGINE_NAMES:
        if find_spec(name.partition("-")[0]) is None:
            continue
        after = task.engine(pruned.module, name) if name == "torch" else _on(name, model)
        engines[name] = task.engine(task.module, name), after
    example = task.named(task.example)
    latency = {}
    for name, (before, after) in engines.items():
        for engine in (before, after):
            warm_up(engine, example)
        times = measure({"before": before, "after": after}, example, ROUNDS)
        ms = {which: round(timing.median_ms, 3) for which, timing in times.items()}
        faster = times["after"].times_as_fast(times["before"])
        latency[name] = {**ms, "faster": round(faster, 3)}
    graphs = {
        "graph_bytes_before": len(to_onnx(task.deploy(task.module), task.signature)),
        "graph_bytes": len(model),
    }
    if not task.inputs:
        return {**pruned.report.completed(None, None, latency).figures(), **graphs}
    before, after = engines.get(JUDGE) or next(reversed(engines.values()))
    error = output_error(task.called(before), task.called(after), task.inputs[:8])
    metric = {"name": task.metric, "before": task.score(before), "after": task.score(after)}
    return {**pruned.report.completed(error, metric, latency).figures(), **graphs}


def _on(name: EngineName, model: bytes) -> Engine:
    if name.startswith("openvino"):
        from ros_xai.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, precision="bf16" if name == "openvino-bf16" else "f32")
    from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model)


def _show(figures: dict[str, Any]) -> None:
    pairs = {
        "parameters": ("parameters_before", "parameters"),
        "multiply-accumulates": ("macs_before", "macs"),
        "multiplications, inputs split": ("macs_before", "multiplications"),
        "distinct weights": ("distinct_before", "distinct"),
        "bytes": ("bytes_before", "bytes"),
        "bytes, as table and codes": ("bytes_before", "packed_bytes"),
        "bytes of the graph": ("graph_bytes_before", "graph_bytes"),
    }
    for label, (before, after) in pairs.items():
        share = figures[after] / figures[before]
        typer.echo(f"{label:>32}  {figures[before]:>12,} -> {figures[after]:>12,}  x {share:.3f}")
    metric, error = figures["metric"], figures["output_error"]
    if isinstance(metric, dict):
        before, after = metric["before"], metric["after"]
        typer.echo(f"{metric['name']:>32}  {before:.4f} -> {after:.4f}")
        error = OutputError(**error)
        typer.echo(f"{'relative error of the outputs':>32}  {error.relative:.4f}")
    else:
        typer.echo(f"{'metric and output error':>32}  not measured: no images given")
    for engine, ms in figures["latency"].items():
        verdict = "" if ms["faster"] > 1.02 else "  (not faster)"
        typer.echo(
            f"{engine + ', ms':>32}  {ms['before']:.2f} -> {ms['after']:.2f}  "
            f"{ms['faster']:.2f} times as fast{verdict}"
        )
