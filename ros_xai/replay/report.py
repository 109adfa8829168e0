"""The report of a replay: one HTML file that opens offline."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ros_xai.replay import charts, panels
from ros_xai.replay.bag import Bag, DecodeError
from ros_xai.replay.evaluate import BEAM_DISTANCES, RANGES, bin_names, percentiles
from ros_xai.replay.results import Results, read_json

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")
SAMPLES = 6  # frames of the contact sheet
WORST = 4
HIDDEN_PARAMETERS = ("qos_overrides.", "start_type_description_service")


def write_report(results: Results) -> Path:
    """Write report.html into the folder of results, whose figures are computed already."""
    metrics = read_json(results.folder / "metrics.json")
    per_frame = read_json(results.folder / "frames.json")
    samples, worst = _choose(per_frame, results.timing["answers"])
    environment = Environment(
        loader=PackageLoader("ros_xai.replay", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        run=results.run,
        metrics=metrics,
        mode=_mode(results.run["pace"]),
        wall_s=results.timing["wall_s"],
        depth=_depth(metrics),
        depth_charts=_depth_charts(metrics, per_frame),
        latency=_latency(results),
        drops=_counts(metrics, "drops."),
        lost=_counts(metrics, "lost."),
        topics=[_topic(topic) for topic in results.run["bag"]["topics"]],
        parameters={name: _shown(values) for name, values in results.run["parameters"].items()},
        sheet=_sheet(results, per_frame, samples, worst),
        labels=_labels(results, metrics),
        forecasts=_forecasts(results, metrics),
        legends={"depth": panels.depth_legend(), "error": panels.error_legend()},
        spans={"near": panels.NEAR, "far": panels.FAR, "error": panels.ERROR_SPAN},
    )
    path = results.folder / "report.html"
    part = path.with_suffix(".part")
    part.write_text(page)
    part.replace(path)
    return path


def _choose(
    per_frame: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]
) -> tuple[list[int], list[int]]:
    """Stamps of evenly spread answers, and of the worst: by abs_rel, or else the slowest."""
    samples, worst = _chosen(per_frame, "abs_rel")
    if worst:
        return samples, worst
    slowest = sorted(answers, key=lambda answer: -answer["wall_ms"])
    return samples, [answer["stamp_ns"] for answer in slowest[:WORST]]


def _chosen(
    per_frame: Sequence[dict[str, Any]], figure: str, lowest: bool = False
) -> tuple[list[int], list[int]]:
    """Stamps of evenly spread answers, and of those that are worst by a figure."""
    stamps = [entry["stamp_ns"] for entry in per_frame]
    spread = np.unique(np.linspace(0, len(stamps) - 1, SAMPLES).round().astype(int))
    judged = [entry for entry in per_frame if figure in entry["figures"]]
    judged.sort(key=lambda entry: entry["figures"][figure], reverse=not lowest)
    samples = [stamps[i] for i in spread] if stamps else []
    return samples, [entry["stamp_ns"] for entry in judged[:WORST]]


def _sheet(
    results: Results,
    per_frame: Sequence[dict[str, Any]],
    samples: Sequence[int],
    worst: Sequence[int],
) -> dict[str, list[dict[str, Any]]]:
    """Rows of pictures, by section of the page."""
    figures = {entry["stamp_ns"]: entry["figures"] for entry in per_frame}
    walls = {answer["stamp_ns"]: answer["wall_ms"] for answer in results.timing["answers"]}
    rows = {
        frame.stamp_ns: {
            "time_s": frame.stamp_ns / 1e9 - results.run["bag"]["start_s"],
            "abs_rel": figures[frame.stamp_ns].get("abs_rel"),
            "wall_ms": walls.get(frame.stamp_ns),
            "panels": panels.panels(frame),
        }
        for frame in results.frames(only={*samples, *worst})
    }
    chosen = {"samples": samples, "worst": worst}
    return {name: [rows[s] for s in stamps if s in rows] for name, stamps in chosen.items()}


def _labels(results: Results, metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The section of segmentation: figures, IoU per class, pictures; None without the node."""
    path = results.folder / "label_frames.json"
    if results.run.get("labels") is None or not path.is_file():
        return None
    per_frame = read_json(path)
    samples, worst = _chosen(per_frame, "miou", lowest=True)
    figures = {entry["stamp_ns"]: entry["figures"] for entry in per_frame}
    rows = {
        frame.stamp_ns: {
            "time_s": frame.stamp_ns / 1e9 - results.run["bag"]["start_s"],
            "miou": figures[frame.stamp_ns].get("miou"),
            "panels": panels.label_panels(frame),
        }
        for frame in results.label_frames(only={*samples, *worst})
    }
    chosen = {"samples": samples, "worst": worst}
    return {
        "judged": "segmentation.miou" in metrics,
        "classes": _counts(metrics, "segmentation.iou."),
        "sheet": {name: [rows[s] for s in stamps if s in rows] for name, stamps in chosen.items()},
    }


def _forecasts(results: Results, metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The section of forecasting: figures and the worst cases; None without judged forecasts."""
    path = results.folder / "forecast_worst.json"
    figures = _counts(metrics, "forecast.")
    if not figures or not path.is_file():
        return None
    return {"figures": figures, "worst": read_json(path)}


def _depth(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of depth figures; empty without ground truth."""
    rows = (("all pixels with ground truth", "depth."), ("pixels without a beam", "depth.unseen."))
    return [
        {"name": name, "values": [metrics[prefix + metric] for metric in METRICS]}
        for name, prefix in rows
        if f"{prefix}abs_rel" in metrics
    ]


def _depth_charts(metrics: dict[str, Any], per_frame: Sequence[dict[str, Any]]) -> dict[str, str]:
    made = {}
    for name, edges, label in (
        ("range", RANGES, "true depth, m"),
        ("beam", BEAM_DISTANCES, "distance to the nearest input beam, pixels"),
    ):
        keys = ((each, f"depth.{name}.{each}.abs_rel") for each in bin_names(edges))
        values = [(_interval(each), metrics[key]) for each, key in keys if key in metrics]
        if values:
            made[name] = charts.bars(values, "abs_rel", label)
    curve = [
        (entry["stamp_ns"], entry["figures"]["abs_rel"])
        for entry in per_frame
        if "abs_rel" in entry["figures"]
    ]
    if len(curve) > 1:
        start = curve[0][0]
        seconds = [(stamp_ns - start) / 1e9 for stamp_ns, _ in curve]
        made["time"] = charts.line(seconds, [v for _, v in curve], "abs_rel", "time, s")
    return made


def _interval(name: str) -> str:
    """`0-2` with a dash for people, `40-` as `40+`."""
    return f"{name[:-1]}+" if name.endswith("-") else name.replace("-", "–")


def _latency(results: Results) -> dict[str, Any] | None:
    """Percentiles, charts and stages of the wall-clock latency; None without an answer."""
    answers = results.timing["answers"]
    if not answers:
        return None
    wall = [answer["wall_ms"] for answer in answers]
    start = answers[0]["stamp_ns"]
    seconds = [(answer["stamp_ns"] - start) / 1e9 for answer in answers]
    return {
        "wall": percentiles(wall),
        "histogram": charts.histogram(wall, "answers", "latency, ms"),
        "time": charts.line(seconds, wall, "latency, ms", "time, s"),
        "stages": _stages(results.folder / "outputs.mcap"),
    }


def _stages(outputs: Path) -> list[dict[str, Any]]:
    """Percentiles per node and stage, from the nodes' own ~/latency messages."""
    times: dict[tuple[str, str], list[float]] = {}
    bag = Bag(outputs)
    for record in bag.records():
        if not record.topic.endswith("/latency"):
            continue
        try:
            message = bag.decode(record)
        except DecodeError:
            continue
        for status in message.status:
            for value in status.values:
                times.setdefault((status.name, value.key), []).append(float(value.value))
    return [
        {"node": node, "stage": stage, **percentiles(values)}
        for (node, stage), values in times.items()
    ]


def _topic(topic: dict[str, Any]) -> dict[str, Any]:
    names = ("missing", "corrupt", "duplicate", "out_of_order", "stale")
    problems = [f"{topic[name]} {name.replace('_', ' ')}" for name in names if topic[name]]
    return topic | {"type": topic["type"].replace("/msg/", "/"), "problems": ", ".join(problems)}


def _counts(metrics: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}


def _shown(parameters: dict[str, Any]) -> dict[str, str]:
    """Parameters that say something about the run, as JSON."""
    return {
        name: json.dumps(_short(value))
        for name, value in parameters.items()
        if not name.startswith(HIDDEN_PARAMETERS)
    }


def _short(value: Any) -> Any:
    """Matrices with four decimals."""
    if isinstance(value, list):
        return [round(v, 4) if isinstance(v, float) and math.isfinite(v) else v for v in value]
    return value


def _mode(pace: dict[str, Any]) -> str:
    if pace["lockstep"]:
        return "lock-step"
    return "real time" if pace["rate"] == 1 else f"{pace['rate']:g} times real time"
