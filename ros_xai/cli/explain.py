"""`ros_xai explain`: why a network answered as it did for one image."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ros_xai.depth.estimator import DepthEstimator
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution, overlay
from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.explainer import SobolExplainer
from ros_xai.nodes import explained
from ros_xai.nodes.explained import Question
from ros_xai.segmentation.bundle import BundleError, load_bundle
from ros_xai.segmentation.segmenter import MAX_PIXELS, SHIPPED

Method = Literal["sobol", "rise", "occlusion", "random"]
Engine = Literal["torch", "openvino"]
BATCH = 16


@dataclass(frozen=True)
class Asked:
    """What the options of one call say about the network and the pixels asked about."""

    rgb: NDArray[np.uint8]
    region: NDArray[np.bool_] | None
    weights: Path | None
    engine: Engine


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="Image file.", exists=True, dir_okay=False)],
    task: Annotated[
        Literal["segmentation", "depth"], typer.Option(help="Network to explain.")
    ] = "segmentation",
    target: Annotated[str, typer.Option(help="Class to explain (segmentation).")] = "car",
    region: Annotated[
        str, typer.Option(help="Box asked about, left,top,right,bottom in pixels; default: all.")
    ] = "",
    by: Annotated[
        Literal["image", "lidar"], typer.Option(help="Input whose parts are masked (depth).")
    ] = "image",
    intrinsics: Annotated[str, typer.Option(help="fx,fy,cx,cy in pixels (depth).")] = "",
    sparse: Annotated[
        Path | None,
        typer.Option(help="LiDAR depth image (depth): 16-bit PNG of metres x 256, or .npy in m."),
    ] = None,
    method: Annotated[Method, typer.Option(help="How to explain.")] = "sobol",
    grid: Annotated[str, typer.Option(help="Cells, rows x columns.")] = "8x8",
    designs: Annotated[int, typer.Option(min=2, help="Sobol designs, a power of two.")] = 32,
    weights: Annotated[Path | None, typer.Option(help="Not the shipped network.")] = None,
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = "torch",
    out: Annotated[Path, typer.Option(help="Folder of results.")] = Path("out/explain"),
    seed: Annotated[int, typer.Option(help="Seed of the masks.")] = 0,
) -> None:
    """Show which parts of an image an answer rests on, and how far to trust that.

    Writes overlay.png, cells.npy (importance of each cell), curves.svg (what is left of the answer
    as pixels are removed, and put in, beside a random order) and figures.json.

    \b
    Examples:
      ros_xai explain street.png --target car
      ros_xai explain street.png --target pedestrian --region 100,60,160,150 --method rise
      ros_xai explain street.png --task depth --intrinsics 721,721,610,173 \\
        --sparse lidar.png --by lidar --region 500,150,700,300
    """
    rgb = _image(image)
    asked = Asked(rgb, _region(region, *rgb.shape[:2]), weights, engine)
    cells = _grid(grid)
    try:
        if task == "depth":
            question = _depth_question(asked, by, intrinsics, sparse)
        else:
            question = _class_question(asked, target)
    except (BundleError, FileNotFoundError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    begun = time.perf_counter()
    attribution = _attribution(question, method, cells, designs, seed)
    seconds = time.perf_counter() - begun
    floor = RandomCells(cells, seed).explain(question.box.inputs)
    curves = _curves(question, {method: attribution, "random": floor})
    figures = {
        "target": question.target.name,
        "method": method,
        "forwards": attribution.forwards,
        "seconds": round(seconds, 3),
        "top_cells": attribution.top(),
        **{name: round(curve.area, 4) for name, curve in curves.items()},
        "mu_fidelity": round(_mu_fidelity(question, attribution), 4),
    }
    _write(out, rgb, attribution, curves, figures)
    _print(figures, out)


def _depth_question(asked: Asked, by: str, intrinsics: str, sparse: Path | None) -> Question:
    returns = np.zeros(asked.rgb.shape[:2], np.float32)
    if sparse is not None:
        returns = _returns(sparse, returns.shape)
    elif by == "lidar":
        raise typer.BadParameter("masking the LiDAR needs its returns: give --sparse")
    numbers = _numbers(intrinsics, 4, "--intrinsics", "fx,fy,cx,cy in pixels")
    fx, fy, cx, cy = numbers
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    estimator = DepthEstimator.load(asked.weights, asked.engine)
    make = explained.depth_by_image if by == "image" else explained.depth_by_lidar
    box = make(estimator, asked.rgb, returns, K, BATCH)
    everything = np.ones(returns.shape, dtype=bool)
    return explained.about_depth(box, everything if asked.region is None else asked.region)


def _class_question(asked: Asked, name: str) -> Question:
    bundle = load_bundle(asked.weights or SHIPPED)
    names = bundle.classes.names
    if name not in names:
        raise typer.BadParameter(f"expected one of {', '.join(names)}", param_hint="--target")
    engine = explained.logits_engine(bundle.network, asked.engine)
    box = explained.classes_by_image(engine, asked.rgb, MAX_PIXELS, BATCH)
    try:
        return explained.about_class(box, names.index(name), asked.region)
    except ValueError as error:
        raise typer.BadParameter(f"{name}: {error}", param_hint="--target") from error


def _attribution(
    question: Question, method: Method, grid: tuple[int, int], designs: int, seed: int
) -> Attribution:
    box = question.box
    if method == "sobol":
        explainer = SobolExplainer(
            box.predict, grid, designs, box.perturbation, BATCH, masks="binary", seed=seed
        )
        attribution = explainer.explain(box.inputs, question.target)
        return attribution if question.either_way else attribution.signed()
    if method == "rise":
        masks = designs * (grid[0] * grid[1] + 1)  # as many forwards as Sobol has
        rise = Rise(box.predict, masks=masks, baseline=box.baseline, batch_size=BATCH, seed=seed)
        return rise.explain(box.inputs, question.agreement)
    if method == "occlusion":
        occlusion = Occlusion(box.predict, grid, box.baseline, BATCH)
        return occlusion.explain(box.inputs, question.agreement)
    return RandomCells(grid, seed).explain(box.inputs)


def _curves(question: Question, attributions: dict[str, Attribution]) -> dict[str, metrics.Curve]:
    """Deletion and insertion by `deletion` and `insertion` for the first, with its name else."""
    box = question.box
    found = {}
    for number, (name, attribution) in enumerate(attributions.items()):
        suffix = f"_{name}" if number else ""
        found["deletion" + suffix], found["insertion" + suffix] = metrics.curves(
            box.predict,
            box.inputs,
            attribution,
            question.agreement,
            steps=2 * BATCH - 1,
            baseline=box.baseline,
            batch_size=BATCH,
        )
    return found


def _mu_fidelity(question: Question, attribution: Attribution) -> float:
    box = question.box
    return metrics.mu_fidelity(
        box.predict,
        box.inputs,
        attribution,
        question.agreement,
        subsets=8 * BATCH,
        baseline=box.baseline,
        batch_size=BATCH,
    )


def _write(
    out: Path,
    rgb: NDArray[np.uint8],
    attribution: Attribution,
    curves: dict[str, metrics.Curve],
    figures: dict[str, Any],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shown = overlay(rgb, attribution.heatmap())
    cv2.imwrite(str(out / "overlay.png"), cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
    np.save(out / "cells.npy", attribution.values)
    (out / "curves.svg").write_text(_svg(curves))
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


def _svg(curves: dict[str, metrics.Curve]) -> str:
    """Scores over the share of pixels changed; the random order's curves are dashed."""
    top = max(float(curve.scores.max()) for curve in curves.values()) or 1.0
    colours = {"deletion": "#c33", "insertion": "#27c"}
    parts = []
    for number, (name, curve) in enumerate(curves.items()):
        points = " ".join(
            f"{40 + 300 * x:.1f},{210 - 190 * max(y, 0) / top:.1f}"
            for x, y in zip(curve.shares, curve.scores)
        )
        style = f'stroke="{colours[name.split("_")[0]]}"' + (
            ' stroke-dasharray="5 4"' if "_" in name else ""
        )
        parts.append(f'<polyline fill="none" stroke-width="2" {style} points="{points}"/>')
        y = 30 + 18 * number
        parts.append(f'<path d="M350 {y - 4}h24" stroke-width="2" {style}/>')
        parts.append(f'<text x="380" y="{y}">{name.replace("_", ", ")}: {curve.area:.3f}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 540 240" '
        'font-family="sans-serif" font-size="12"><rect width="540" height="240" fill="#fff"/>'
        '<path d="M40 20V210H340" fill="none" stroke="#888"/>'
        f'<text x="4" y="24">{top:.2f}</text><text x="26" y="214">0</text>'
        '<text x="130" y="232">share of pixels changed</text>'
        f"{''.join(parts)}</svg>\n"
    )


def _print(figures: dict[str, Any], out: Path) -> None:
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name, str(value))
    console = Console()
    console.print(table)
    console.print(f"written to {out}")


def _image(path: Path) -> NDArray[np.uint8]:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise typer.BadParameter(f"{path} is no image that OpenCV reads")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _returns(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Metres [H, W], 0 = no return; NaN in a .npy means none, too."""
    if path.suffix == ".npy":
        depth = np.nan_to_num(np.load(path, allow_pickle=False).astype(np.float32))
    else:
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.dtype != np.uint16:
            raise typer.BadParameter(f"{path} is no 16-bit PNG", param_hint="--sparse")
        depth = (raw / 256).astype(np.float32)
    if depth.shape != shape:
        raise typer.BadParameter(
            f"expected the image's {list(shape)}; got {list(depth.shape)}", param_hint="--sparse"
        )
    return depth


def _region(text: str, height: int, width: int) -> NDArray[np.bool_] | None:
    if not text:
        return None
    left, top, right, bottom = _numbers(text, 4, "--region", "left,top,right,bottom in pixels")
    region = np.zeros((height, width), dtype=bool)
    region[max(0, int(top)) : int(bottom), max(0, int(left)) : int(right)] = True
    if not region.any():
        raise typer.BadParameter(
            f"holds no pixel of the {width} x {height} image", param_hint="--region"
        )
    return region


def _grid(text: str) -> tuple[int, int]:
    rows, columns = _numbers(text.replace("x", ","), 2, "--grid", "rows x columns, as 6x10")
    if min(rows, columns) < 1:
        raise typer.BadParameter("expected at least one cell", param_hint="--grid")
    return int(rows), int(columns)


def _numbers(text: str, count: int, option: str, meaning: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise typer.BadParameter(f"expected {meaning}; got {text!r}", param_hint=option)
    return numbers
