"""Charts as inline SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 450, 18, 164  # edges of the plot area
QUARTERS = (0, 0.25, 0.5, 0.75, 1)


def bars(values: Sequence[tuple[str, float]], unit: str, x_label: str) -> str:
    """A bar per (label, value), each with its value on top."""
    top = nice(max((value for _, value in values), default=0.0))
    step = (RIGHT - LEFT) / max(len(values), 1)
    parts = []
    for index, (label, value) in enumerate(values):
        middle = LEFT + (index + 0.5) * step
        title = f"{label}: {value:.4g} {unit}"
        parts += [
            _rect(middle - 0.36 * step, 0.72 * step, value / top, title),
            text(middle, BOTTOM - value / top * (BOTTOM - TOP) - 4, f"{value:.3f}", "value"),
            text(middle, BOTTOM + 14, label),
        ]
    return _chart(parts, top, unit, x_label)


def histogram(values: Sequence[float], unit: str, x_label: str, bins: int = 24) -> str:
    """How many values fall into each of equal intervals from 0 to their 99.5th percentile.

    What lies beyond is counted in the last interval.
    """
    high = nice(float(np.percentile(values, 99.5))) if len(values) else 1.0
    counts, edges = np.histogram(np.minimum(values, high), bins=bins, range=(0, high))
    top = nice(float(counts.max()))
    step = (RIGHT - LEFT) / bins
    parts = [
        _rect(
            LEFT + i * step + 0.5, step - 1, n / top, f"{edges[i]:.1f} to {edges[i + 1]:.1f}: {n}"
        )
        for i, n in enumerate(counts)
    ]
    return _chart([*parts, *_x_ticks(high)], top, unit, x_label)


def line(x: Sequence[float], y: Sequence[float], unit: str, x_label: str) -> str:
    """Values y over x, both from 0 on."""
    top = nice(max(y, default=0.0))
    high = nice(max(x, default=0.0))
    points = " ".join(
        f"{LEFT + a / high * (RIGHT - LEFT):.1f},{BOTTOM - b / top * (BOTTOM - TOP):.1f}"
        for a, b in zip(x, y)
    )
    curve = f'<polyline class="line" points="{points}"/>'
    return _chart([curve, *_x_ticks(high)], top, unit, x_label)


def _chart(parts: Iterable[str], top: float, unit: str, x_label: str) -> str:
    grid = []
    for share in QUARTERS:
        y = BOTTOM - share * (BOTTOM - TOP)
        grid.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        grid.append(text(LEFT - 6, y + 3.5, f"{share * top:.3g}", "axis"))
    turned = f"translate(11 {(TOP + BOTTOM) / 2}) rotate(-90)"
    names = [
        text((LEFT + RIGHT) / 2, HEIGHT - 4, x_label, "name"),
        f'<text class="name" transform="{turned}">{escape(unit)}</text>',
    ]
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(unit)} by {escape(x_label)}">{"".join([*grid, *parts, *names])}</svg>'
    )


def _x_ticks(high: float) -> list[str]:
    return [
        text(LEFT + share * (RIGHT - LEFT), BOTTOM + 14, f"{share * high:.4g}")
        for share in QUARTERS
    ]


def _rect(x: float, width: float, share: float, title: str) -> str:
    """A bar that fills `share` of the plot's height."""
    height = share * (BOTTOM - TOP)
    return (
        f'<rect class="bar" x="{x:.1f}" y="{BOTTOM - height:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"><title>{escape(title)}</title></rect>'
    )


def text(x: float, y: float, text: str, kind: str = "tick") -> str:
    """A text element; `kind` is its class on the page."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def nice(value: float) -> float:
    """The next of 1, 2, 4, 6, 8, 10 times a power of ten, whose quarters are round; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((m * power for m in (1, 2, 4, 6, 8) if m * power >= value), 10 * power)
