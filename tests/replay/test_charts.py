"""Charts are valid XML whose geometry is the data."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.replay import charts


def elements(svg: str, kind: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter(kind) if e.get("class") != "grid"]


def test_bars_are_as_high_as_their_values_against_the_axis() -> None:
    svg = charts.bars([("0-10", 0.1), ("10-20", 0.4)], "abs_rel", "depth")
    low, high = (float(e.get("height", 0)) for e in elements(svg, "rect"))
    assert high == pytest.approx(4 * low, abs=0.3)
    assert high == pytest.approx(charts.BOTTOM - charts.TOP, abs=0.1)  # 0.4 is the axis's end
    texts = [e.text for e in elements(svg, "text")]
    assert {"0.100", "0.400", "0-10", "10-20", "abs_rel", "depth"} <= set(texts)
    assert texts[:5] == ["0", "0.1", "0.2", "0.3", "0.4"]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_histogram_counts_every_value(values: list[float]) -> None:
    bars = elements(charts.histogram(values, "n", "ms"), "rect")
    counts = [int((bar.find("title").text or "").split(": ")[1]) for bar in bars]
    assert sum(counts) == len(values)


def test_line_goes_through_the_points() -> None:
    svg = charts.line([0.0, 1.0, 2.0], [0.0, 5.0, 10.0], "ms", "s")
    (curve,) = elements(svg, "polyline")
    points = [tuple(map(float, p.split(","))) for p in (curve.get("points") or "").split()]
    middle = ((charts.LEFT + charts.RIGHT) / 2, (charts.TOP + charts.BOTTOM) / 2)
    assert points == [(charts.LEFT, charts.BOTTOM), middle, (charts.RIGHT, charts.TOP)]


def test_nothing_to_draw_is_still_a_chart() -> None:
    for svg in (
        charts.bars([], "a", "b"),
        charts.histogram([], "a", "b"),
        charts.line([], [], "a", "b"),
    ):
        assert ElementTree.fromstring(svg).get("class") == "chart"


def test_labels_are_escaped() -> None:
    svg = charts.bars([("<script>", 1.0)], "a & b", 'say "x"')
    assert "<script>" not in svg
    assert "a & b" in [e.text for e in elements(svg, "text")]
