"""`ros_xai explain IMAGE --method steex`: what would have to look otherwise for "may move on"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from ros_xai.cli import explain_questions as questions
from ros_xai.cli.png import read_label, write_png
from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex_decision import load_decisions
from ros_xai.generation.images import ImageGenerator
from ros_xai.nodes.counterfactual_scene import Pixels, pictures, scene_of
from ros_xai.segmentation.segmenter import Segmenter


def explain(
    rgb: Pixels, label: Pixels, regions: str, smallest: bool, weights: Path | None, out: Path
) -> dict[str, Any]:
    """Search, write before.png, after.png, difference.png, decision.svg, side_by_side.png and
    figures.json into `out`, and return the figures."""
    generator = ImageGenerator.load()
    decision, oracle = load_decisions(weights)
    chosen = region_numbers(regions, generator.names)
    scene = scene_of(generator, decision, rgb, label)
    try:
        found = scene.search.explain(chosen)
    except ValueError:
        here = ", ".join(generator.names[i] for i in scene.search.present)
        raise typer.BadParameter(
            f"not in the image; it has {here}", param_hint="--regions"
        ) from None
    changed = found.changed(scene.layout)
    if smallest:
        found = scene.search.smallest(found, changed.argsort(descending=True).tolist()) or found
        changed = found.changed(scene.layout)
    out.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures(found).items():
        write_png(out / f"{name}.png", picture)
    (out / "decision.svg").write_text(curve_svg(found.curve))
    figures = {
        "decision": "the ego may move on",
        "probability": round(found.image, 4),
        "of the reconstruction": round(found.reconstruction, 4),
        "of the counterfactual": round(found.curve[-1], 4),
        "of the counterfactual, by the oracle": round(
            float(oracle(found.after).sigmoid().item()), 4
        ),
        "success": found.success,
        "steps": len(found.curve) - 1,
        "regions": [generator.names[i] for i in found.regions],
        "mean change in grey levels": {
            generator.names[i]: round(float(changed[i]), 2)
            for i in changed.argsort(descending=True).tolist()
            if i in scene.search.present
        },
    }
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def command(
    image: Path, regions: str, label: Path | None, smallest: bool, weights: Path | None, out: Path
) -> None:
    """What `ros_xai explain --method steex` does; the layout is the segmenter's unless given."""
    rgb = questions.read_rgb(image)
    if label is None:
        known = Segmenter.load()(rgb).labels
    else:
        known = read_label(label, len(CAMVID))
        if known.shape != rgb.shape[:2]:
            expected, got = (" x ".join(map(str, each.shape[:2])) for each in (rgb, known))
            raise typer.BadParameter(
                f"expected the image's {expected} pixels; got {got}", param_hint="--label"
            )
    figures = explain(rgb, known, regions, smallest, weights, out)
    for name, value in figures.items():
        typer.echo(f"{name:>38}  {value}")
    typer.echo(f"before, after, difference and decision curve in {out}")


def region_numbers(text: str, names: Sequence[str]) -> list[int] | None:
    """`car,sign` as class numbers, None for all."""
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in asked if name not in names]:
        raise typer.BadParameter(
            f"unknown class {unknown[0]!r}; expected of {', '.join(names)}", param_hint="--regions"
        )
    return [list(names).index(name) for name in asked] or None


def curve_svg(curve: Sequence[float]) -> str:
    """The probability of "may move on" over the steps of the search."""
    last = max(len(curve) - 1, 1)
    points = " ".join(f"{40 + 320 * i / last:.1f},{180 - 160 * p:.1f}" for i, p in enumerate(curve))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="380" height="210" font-family="sans-serif" '
        'font-size="12"><rect width="380" height="210" fill="#fff"/>'
        '<path d="M40 20V180H360" fill="none" stroke="#888"/>'
        '<path d="M40 100H360" stroke="#bbb" stroke-dasharray="4 4"/>'
        f'<polyline fill="none" stroke="#27c" stroke-width="2" points="{points}"/>'
        '<text x="10" y="24">1</text><text x="10" y="104">0.5</text><text x="10" y="184">0</text>'
        f'<text x="40" y="200">probability of "may move on" over {last} steps</text></svg>\n'
    )
