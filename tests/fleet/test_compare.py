"""Intervals against theory and by simulation; verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.fleet.compare import LEAST_BAGS, compare, half_widths
from ros_xai.fleet.measures import Measure


def measure(metric: str, before: np.ndarray, after: np.ndarray, part: str = "") -> Measure:
    return Measure(metric, "part" if part else "", part, {"old": before, "new": after})


def test_one_figure_has_the_interval_of_the_normal_distribution() -> None:
    differences = np.random.default_rng(0).normal(0.3, 2.0, (400, 1))
    expected = 1.96 * differences.std() / np.sqrt(400)
    assert half_widths(differences, 0)[0] == pytest.approx(expected, rel=0.06)


def test_many_independent_figures_have_the_interval_of_their_maximum() -> None:
    """Of 20 independent ones: the normal quantile of (1 + 0.95 ** (1 / 20)) / 2 is 3.016."""
    differences = np.random.default_rng(1).normal(0, 1, (2000, 20))
    widths = half_widths(differences, 0) / (differences.std(0) / np.sqrt(2000))
    assert widths == pytest.approx(np.full(20, 3.016), rel=0.06)


def test_a_figure_of_few_of_the_bags_has_the_interval_of_those() -> None:
    differences = np.random.default_rng(5).normal(3.0, 1.0, (400, 1))
    differences[100:] = np.nan
    expected = 1.96 * differences[:100].std() / 10
    assert half_widths(differences, 0)[0] == pytest.approx(expected, rel=0.1)


def test_copies_of_one_figure_cost_nothing() -> None:
    one = np.random.default_rng(2).normal(0, 1, (200, 1))
    assert half_widths(one.repeat(10, 1), 0)[0] == pytest.approx(half_widths(one, 0)[0])


def test_equals_are_seldom_called_different() -> None:
    """A comparison of 12 figures of 40 bags without any difference, 120 times: 95 % of them name
    none. 14 alarms or more have a probability of 0.3 % then."""
    alarms = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        before = rng.normal(1, 0.2, (40, 12))
        after = before + rng.normal(0, 0.1, (40, 12))
        measures = [measure("abs_rel", before[:, m], after[:, m], str(m)) for m in range(12)]
        alarms += any(c.verdict != "none" for c in compare(measures, "old", "new", seed))
    assert alarms < 14


def test_a_planted_regression_comes_first_with_an_interval_that_excludes_zero() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(0.2, 0.05, 40)
    noise = rng.normal(0, 0.01, (4, 40))
    measures = [
        measure("rmse", before, before + noise[0]),
        measure("a1", before, before + 0.02 + noise[1]),  # higher is better
        measure("abs_rel", before, before + 0.04 + noise[2]),
        measure("coverage", before, before - 0.03 + noise[3]),
    ]
    found = compare(measures, "old", "new")
    assert [c.measure.metric for c in found] == ["abs_rel", "coverage", "a1", "rmse"]
    verdicts = [c.verdict for c in found]
    assert verdicts == ["regression", "regression", "improvement", "none"]
    assert 0 < found[0].low < 0.04 < found[0].high
    assert found[1].high < 0
    assert found[0].harm > 0 and found[1].harm > 0 > found[2].harm
    assert found[0].bags == 40


def test_equal_values_have_no_difference_and_few_bags_no_verdict() -> None:
    values = np.random.default_rng(4).normal(1, 0.1, 20)
    few = np.where(np.arange(20) < LEAST_BAGS - 1, values, np.nan)
    never = np.full(20, np.nan)
    found = compare(
        [
            measure("abs_rel", values, values.copy()),
            measure("abs_rel", few, few + 1, "rare"),
            measure("abs_rel", never, values, "never"),
        ],
        "old",
        "new",
    )
    assert [(c.verdict, c.bags) for c in found] == [("none", 20), ("too few bags", 7)]
    assert (found[0].low, found[0].high) == (0, 0)


def test_means_are_over_the_bags_that_both_have_and_eight_are_enough() -> None:
    before, after = np.full(20, 0.2), np.full(20, 0.3)
    before[8:14], after[14:] = 9.0, 7.0
    after[8:14], before[14:] = np.nan, np.nan
    (found,) = compare([measure("abs_rel", before, after)], "old", "new")
    assert (found.bags, found.verdict) == (8, "regression")
    assert found.baseline_mean == pytest.approx(0.2)
    assert found.candidate_mean == pytest.approx(0.3)


def test_a_difference_that_is_the_same_on_every_bag_is_one() -> None:
    values = np.linspace(1, 2, 10)
    (found,) = compare([measure("abs_rel", values, values + 0.5)], "old", "new")
    assert found.verdict == "regression"
    assert found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5)
