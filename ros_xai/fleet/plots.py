"""Charts of the comparison as inline SVG; colours come from the page's classes c0, c1, ..."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from ros_xai.fleet.compare import Comparison
from ros_xai.fleet.measures import Values
from ros_xai.replay.charts import nice, text

WIDTH = 460
LEFT, RIGHT, TOP = 48, 450, 14
PLOT = 150  # height of a plot area
LABELS = 190  # width of the row names of `forest`
ROW = 20


def cumulative(values: Mapping[str, Values], x_label: str) -> str:
    """Per candidate the share of bags with at most x."""
    known = {name: np.sort(v[np.isfinite(v)]) for name, v in values.items()}
    high = nice(max((float(v[-1]) for v in known.values() if v.size), default=1.0))
    parts = _axes(0.0, high, 1.0, "share of bags", x_label)
    for index, (name, ordered) in enumerate(known.items()):
        if ordered.size:
            x = np.repeat(LEFT + ordered / high * (RIGHT - LEFT), 2)
            steps = np.arange(ordered.size + 1) / ordered.size
            y = TOP + PLOT * (1 - np.repeat(steps, 2)[1:-1])
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
            title = f"{name}: median {np.median(ordered):.4g}"
            title = f"<title>{escape(title)}</title>"
            kind = f"line c{index % 6}"
            parts.append(f'<polyline class="{kind}" points="{points}">{title}</polyline>')
    return _svg(parts, TOP + PLOT + 36, f"distribution of {x_label} over bags")


def differences(values: Values, x_label: str, bins: int = 25) -> str:
    """How many bags have which difference; the middle is no difference."""
    known = values[np.isfinite(values)]
    span = nice(float(np.abs(known).max()) if known.size else 1.0)
    counts, edges = np.histogram(known, bins=bins, range=(-span, span))
    top = max(int(counts.max()), 1)
    parts = _axes(-span, span, float(top), "bags", x_label)
    step = (RIGHT - LEFT) / bins
    for index, count in enumerate(counts):
        height = count / top * PLOT
        title = f"{edges[index]:.4g} to {edges[index + 1]:.4g}: {count} bags"
        parts.append(
            f'<rect class="bar" x="{LEFT + index * step + 0.5:.1f}" y="{TOP + PLOT - height:.1f}" '
            f'width="{step - 1:.1f}" height="{height:.1f}"><title>{escape(title)}</title></rect>'
        )
    middle = (LEFT + RIGHT) / 2
    parts.append(f'<line class="zero" x1="{middle}" x2="{middle}" y1="{TOP}" y2="{TOP + PLOT}"/>')
    return _svg(parts, TOP + PLOT + 36, f"{x_label} over bags")


def forest(rows: Sequence[Comparison]) -> str:
    """A row per comparison: the interval of the relative difference about no difference."""
    shown = [row for row in rows if math.isfinite(row.low) and row.baseline_mean]
    ends = [end / abs(r.baseline_mean) for r in shown for end in (r.low, r.high)]
    span = nice(max(map(abs, ends), default=0.01))
    left, height = LABELS, TOP + ROW * len(shown)

    def x(share: float) -> float:
        return left + (share / span + 1) / 2 * (WIDTH - 26 - left)

    parts = []
    for share in (-1, -0.5, 0, 0.5, 1):
        kind = "zero" if share == 0 else "grid"
        at = x(share * span)
        parts.append(f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height}"/>')
        parts.append(text(at, height + 14, f"{100 * share * span:+.3g} %"))
    for index, row in enumerate(shown):
        scale, y = abs(row.baseline_mean), TOP + ROW * (index + 0.5)
        low, high = x(row.low / scale), x(row.high / scale)
        title = f"{row.measure.name}: {row.difference:+.4g} ({row.low:+.4g} to {row.high:+.4g})"
        parts.append(
            f'<g class="{row.verdict}"><title>{escape(title)}</title>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{x(row.difference / scale):.1f}" cy="{y}" r="3.5"/></g>'
        )
        parts.append(text(left - 8, y + 3.5, row.measure.name, "axis"))
    return _svg(parts, height + 24, "differences with intervals")


def _axes(low: float, high: float, top: float, unit: str, x_label: str) -> list[str]:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y, x = TOP + PLOT * (1 - share), LEFT + share * (RIGHT - LEFT)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(LEFT - 6, y + 3.5, f"{share * top:.3g}", "axis"))
        parts.append(text(x, TOP + PLOT + 14, f"{low + share * (high - low):.3g}"))
    turned = f"translate(11 {TOP + PLOT / 2}) rotate(-90)"
    parts.append(f'<text class="name" transform="{turned}">{escape(unit)}</text>')
    parts.append(text((LEFT + RIGHT) / 2, TOP + PLOT + 31, x_label, "name"))
    return parts


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
