"""Figures over seeds as they are written."""

from __future__ import annotations

import pytest

from benchmarks.seeded import interval


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_intervals_are_student_s_whatever_the_unit(unit: float) -> None:
    # Of one degree of freedom the 97.5 % quantile is tan(0.475 pi) = 12.7062; here s / sqrt(2) = 1.
    found = interval([1 * unit, 3 * unit])
    assert found == pytest.approx({"mean": 2 * unit, "half_width_95": 12.706 * unit}, rel=1e-9)
    assert interval([unit * 2 / 3]) == pytest.approx(
        {"mean": 0.66667 * unit, "half_width_95": 0.0}, rel=1e-9
    )
