"""`ros_xai explain IMAGE --method steex`: what would have to look otherwise for "may move on"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from torch import Tensor

from ros_xai.cli import explain_questions as questions
from ros_xai.explanation.steex import Counterfactual, Steex, SteexConfig
from ros_xai.explanation.steex_decision import DecisionNetwork, load_decisions
from ros_xai.generation.images import ImageGenerator, to_image, to_network
from ros_xai.segmentation.segmenter import Segmenter

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """One image at the generator's size, its layout, and the search over its styles."""

    image: Pixels
    label: Pixels
    layout: Tensor
    search: Steex


def scene_of(
    generator: ImageGenerator,
    decision: DecisionNetwork,
    image: Pixels,
    label: Pixels,
    config: SteexConfig | None = None,
) -> Scene:
    """The search for an image [H, W, 3] and its label [H, W]."""
    small, fitted = generator.fit(image, label)
    layout = generator.layout(fitted)
    codes = generator.encode(image, label)
    present = layout.sum(dim=(0, 2, 3)).nonzero()[:, 0].tolist()
    search = Steex(
        lambda z: generator.network(layout, z),
        decision,
        to_network(small),
        codes,
        present,
        config,
    )
    return Scene(small, fitted, layout, search)


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
        cv2.imwrite(str(out / f"{name}.png"), picture[..., ::-1])
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
        known = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
        if known is None or known.shape != rgb.shape[:2] or known.dtype != np.uint8:
            message = f"expected a PNG of class numbers, 8 bits, {rgb.shape[0]} x {rgb.shape[1]}"
            raise typer.BadParameter(message, param_hint="--label")
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


def pictures(found: Counterfactual, scale: int = 4) -> dict[str, Pixels]:
    """before, after, difference (change x 3, on black) and all three side by side, enlarged."""
    before, after = to_image(found.before), to_image(found.after)
    change = np.abs(after.astype(np.int16) - before.astype(np.int16))
    difference = np.clip(3 * change, 0, 255).astype(np.uint8)
    single = {"before": before, "after": after, "difference": difference}
    large = {
        name: np.asarray(
            cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8
        )
        for name, p in single.items()
    }
    return {**large, "side_by_side": np.hstack(list(large.values()))}


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
