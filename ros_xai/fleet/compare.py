"""Paired comparison of candidates by bootstrap over bags, with one error rate for all figures.

Bags are drawn with replacement, the same ones for both candidates and all figures. Intervals are
simultaneous: their half width is the standard error of the figure's mean difference times the 95th
percentile of the largest |mean* - mean| / standard error among all figures (max-t; Romano & Wolf,
Econometrica 2005, "Stepwise multiple testing as formalized data snooping"). So with some fifty
figures and slices, in 95 of 100 comparisons of equals none of them is called a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ros_xai.fleet.measures import Measure, Values

CONFIDENCE = 0.95
RESAMPLES = 4000
CHUNK = 250  # resamples at a time, which bounds the memory at 10,000 bags
LEAST_BAGS = 8  # fewer bags say too little for a verdict
ROUNDING = 1e-12  # relative: what counts as no difference at all

Verdict = Literal["regression", "improvement", "none", "too few bags"]


@dataclass(frozen=True)
class Comparison:
    """A candidate beside the baseline in one measure, over the bags that have it under both.

    `difference` = candidate - baseline, means over the bags; `low`..`high` is its interval.
    """

    measure: Measure
    candidate: str
    bags: int
    baseline_mean: float
    candidate_mean: float
    low: float
    high: float
    verdict: Verdict

    @property
    def difference(self) -> float:
        """Mean over the bags."""
        return self.candidate_mean - self.baseline_mean

    @property
    def relative(self) -> float:
        """The difference as a share of the baseline."""
        return self.difference / abs(self.baseline_mean) if self.baseline_mean else 0.0

    @property
    def harm(self) -> float:
        """The relative difference, positive where the candidate is worse."""
        return self.relative if self.measure.lower_is_better else -self.relative


def compare(
    measures: Sequence[Measure], baseline: str, candidate: str, seed: int = 0
) -> list[Comparison]:
    """All measures that both have on some bag, the worst regressions first."""
    differences = [m.values[candidate] - m.values[baseline] for m in measures]
    shared = [(m, d) for m, d in zip(measures, differences) if np.isfinite(d).any()]
    if not shared:
        return []
    matrix = np.stack([d for _, d in shared], axis=1)  # [B, M]
    judged = np.isfinite(matrix).sum(0) >= LEAST_BAGS
    half = np.full(len(shared), np.nan)
    if judged.any():
        half[judged] = half_widths(matrix[:, judged], seed)
    found = [
        _comparison(measure, baseline, candidate, difference, width)
        for (measure, difference), width in zip(shared, half)
    ]
    order = {"regression": 0, "improvement": 1, "none": 2, "too few bags": 3}
    return sorted(found, key=lambda c: (order[c.verdict], -abs(c.relative)))


def half_widths(differences: Values, seed: int) -> Values:
    """Half widths [M] of simultaneous intervals about the columns' means, of [B, M] with NaN."""
    rng = np.random.default_rng(seed)
    bags = len(differences)
    known = np.isfinite(differences)
    values = np.where(known, differences, 0.0)
    mean = values.sum(0) / known.sum(0)
    deviations: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, CHUNK):
        count = min(CHUNK, RESAMPLES - start)
        drawn = rng.multinomial(bags, np.full(bags, 1 / bags), size=count).astype(np.float64)
        with np.errstate(invalid="ignore"):  # a slice of which no bag was drawn
            deviations.append((drawn @ values) / (drawn @ known) - mean)
    deviation = np.concatenate(deviations)  # [R, M]
    error = np.nanstd(deviation, axis=0)
    varying = error > ROUNDING * np.maximum(np.abs(mean), np.abs(values).max(0))
    if not varying.any():
        return np.zeros(len(mean))
    largest = np.nanmax(np.abs(deviation[:, varying]) / error[varying], axis=1)
    return np.where(varying, np.quantile(largest, CONFIDENCE) * error, 0.0)


def _comparison(
    measure: Measure, baseline: str, candidate: str, difference: Values, half: float
) -> Comparison:
    both = np.isfinite(difference)
    before = float(measure.values[baseline][both].mean())
    after = float(measure.values[candidate][both].mean())
    mean = after - before
    verdict: Verdict = "none"
    if not np.isfinite(half):
        verdict, half = "too few bags", np.nan
    elif abs(mean) > half + ROUNDING * abs(before):
        worse = (mean > 0) == measure.lower_is_better
        verdict = "regression" if worse else "improvement"
    return Comparison(
        measure, candidate, int(both.sum()), before, after, mean - half, mean + half, verdict
    )
