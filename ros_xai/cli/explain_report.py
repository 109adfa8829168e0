"""What `ros_xai explain` leaves behind: overlay, cells, curves and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ros_xai.cli.png import write_png
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution


def write(
    out: Path,
    shown: NDArray[np.uint8],
    attribution: Attribution,
    curves: dict[str, metrics.Curve],
    figures: dict[str, Any],
) -> None:
    """Writes the files of one explanation into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "overlay.png", shown)
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


def show(figures: dict[str, Any], out: Path) -> None:
    """Prints the figures as a table."""
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name, str(value))
    console = Console()
    console.print(table)
    console.print(f"written to {out}")
