"""`ros_xai explain`: why a network answered as it did for one image or one moment of traffic."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from ros_xai.cli import explain_questions as questions
from ros_xai.cli import explain_report as report
from ros_xai.cli import explain_steex as steex
from ros_xai.cli.explain_questions import BATCH, Asked, Engine
from ros_xai.cli.mendable import mendable
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.effects import MainEffects
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.nodes.explained import Question
from ros_xai.nodes.explained_view import View

Method = Literal["sobol", "effects", "rise", "occlusion", "random", "steex"]
PAIRS_PER_DESIGN = 8  # a quarter of the forwards that Sobol has on 8 x 8 cells

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def explain(
    image: Annotated[
        Path,
        typer.Argument(
            help="Image file; to forecast a folder of Argoverse 2, or a traffic_NNNN.npz.",
            exists=True,
        ),
    ],
    task: Annotated[
        Literal["segmentation", "depth", "forecasting"], typer.Option(help="Network to explain.")
    ] = "segmentation",
    target: Annotated[
        str, typer.Option(help="Class (segmentation), or id of a track (forecasting).")
    ] = "car",
    region: Annotated[
        str, typer.Option(help="Box asked about, left,top,right,bottom in pixels; default: all.")
    ] = "",
    by: Annotated[
        Literal["image", "lidar", "map", "neighbours"] | None,
        typer.Option(help="Input that is masked: image or lidar (depth), map or neighbours."),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option(help="Seconds into the recording (forecasting); default: its middle."),
    ] = None,
    intrinsics: Annotated[str, typer.Option(help="fx,fy,cx,cy in pixels (depth).")] = "",
    sparse: Annotated[
        Path | None,
        typer.Option(
            help="LiDAR depth image (depth): 16-bit PNG of metres x 256, or .npy in m.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="How to explain; effects: first order, settled soonest.")
    ] = "sobol",
    grid: Annotated[str, typer.Option(help="Cells, rows x columns.")] = "8x8",
    designs: Annotated[int, typer.Option(min=2, help="Most Sobol designs, a power of two.")] = 32,
    weights: Annotated[Path | None, typer.Option(help="Not the shipped network.")] = None,
    engine: Annotated[
        Engine | None,
        typer.Option(help="What runs the network; by default openvino where it is installed."),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of results.")] = Path(
        "out/explain"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the masks.")] = 0,
    regions: Annotated[
        str, typer.Option(help="Classes whose look may change, as car,sign (steex); default: all.")
    ] = "",
    label: Annotated[
        Path | None,
        typer.Option(
            help="PNG of class numbers (steex), not the segmenter's.", exists=True, dir_okay=False
        ),
    ] = None,
    smallest: Annotated[
        bool, typer.Option(help="Search the fewest regions that flip the decision (steex).")
    ] = False,
) -> None:
    """Show which parts of its input an answer rests on, and how far to trust that.

    With --method steex: what would have to look otherwise for "the ego may move on" to turn, as a
    counterfactual image.

    Writes overlay.png, cells.npy (importance of each cell), curves.svg (what is left of the answer
    as pixels are removed, and put in, beside a random order) and figures.json.

    \b
    Examples:
      ros_xai explain street.png --target car
      ros_xai explain street.png --target pedestrian --region 100,60,160,150 --method rise
      ros_xai explain street.png --task depth --intrinsics 721,721,610,173 \\
        --sparse lidar.png --by lidar --region 500,150,700,300
      ros_xai explain traffic_0000.npz --task forecasting --target 12 --by neighbours \\
        --weights forecaster.safetensors
      ros_xai explain street.png --method steex --regions car,sign --smallest
    """
    with mendable():
        if method == "steex":
            steex.command(image, regions, label, smallest, weights, out)
            return
        cells = questions.grid_of(grid)
        if task == "forecasting":
            view = questions.about_forecast(
                image, target, at, _one_of(by, "map", "neighbours"), weights
            )
        else:
            rgb = questions.read_rgb(image)
            runner = engine or ("openvino" if find_spec("openvino") else "torch")
            asked = Asked(rgb, questions.region_of(region, *rgb.shape[:2]), weights, runner)
            if task == "depth":
                if runner == "openvino-int8":
                    raise typer.BadParameter("8 bits are for segmentation", param_hint="--engine")
                masked = _one_of(by, "image", "lidar")
                view = View(questions.about_depth(asked, masked, intrinsics, sparse), rgb)
            else:
                _one_of(by, "image")
                view = View(questions.about_class(asked, target), rgb)
        if view.places is not None and method == "rise":
            raise typer.BadParameter("RISE's smooth masks mean nothing for neighbours")
        _answer(view, method, view.grid(*cells), designs, seed, out)


def _answer(
    view: View, method: Method, cells: tuple[int, int], designs: int, seed: int, out: Path
) -> None:
    """Explains, judges, writes and shows."""
    question = view.question
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
    if attribution.constant:
        figures["constant"] = True
    report.write(out, view.overlay(attribution), attribution, curves, figures)
    report.show(figures, out)
    if attribution.constant:
        typer.echo("the answer is the same under every mask: nothing here says what it rests on")


def _one_of(by: str | None, *known: str) -> str:
    """What is masked; the first of the known by default."""
    if by is not None and by not in known:
        raise typer.BadParameter(f"expected one of {', '.join(known)}", param_hint="--by")
    return by or known[0]


def _attribution(
    question: Question, method: Method, grid: tuple[int, int], designs: int, seed: int
) -> Attribution:
    box = question.box
    if method == "sobol":
        explainer = SobolExplainer(box.predict, grid, designs, box.perturbation, BATCH, seed=seed)
        forwards = designs * (explainer.cells + 1)
        plan = Refinement(every=forwards, max_forwards=forwards)  # less where cells settle earlier
        *_, attribution = explainer.refine(box.inputs, question.target, plan)
        return attribution if question.either_way else attribution.signed()
    if method == "effects":
        pairs = max(PAIRS_PER_DESIGN * designs, 2 * grid[0] * grid[1])  # more where cells are many
        effects = MainEffects(box.predict, grid, pairs, box.perturbation, BATCH, seed)
        *_, attribution = effects.refine(box.inputs, question.supported, every=2 * pairs)
        return attribution
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
