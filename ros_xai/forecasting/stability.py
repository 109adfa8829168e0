"""How steady the forecasts of a running forecaster are: each agent's present against what was said
of it before (dispersion and convergence-to-range, section 3.3 of CAB)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import HORIZON, STEP
from ros_xai.forecasting.metrics import convergence_to_range, dispersion

Array = NDArray[np.float64]

_SLACK_NS = 50_000_000  # how far from a whole step before now a forecast may have been made


@dataclass(frozen=True)
class Stability:
    """Of A agents at one instant, NaN where it was not forecast from all of 1..T steps before.

    dispersion [A] m; convergence [A,R] s: how long before now all forecasts had come within each
    radius, and stayed.
    """

    dispersion: Array
    convergence: Array


class _Said(NamedTuple):
    """The likeliest modes [A,T,2] at one instant, and the row of each agent."""

    stamp_ns: int
    row: dict[str, int]
    paths: Array


class StabilityMonitor:
    """Keeps the likeliest forecasts of the last six seconds."""

    def __init__(self, radii: tuple[float, ...]) -> None:
        self.radii = radii
        self._said: deque[_Said] = deque()

    def clear(self) -> None:
        """Forget all forecasts."""
        self._said.clear()

    def update(
        self, stamp_ns: int, id: NDArray[np.str_], present: Array, paths: Array
    ) -> Stability:
        """Judge the agents' positions `present` [A,2] by what was said before, then take up what is
        said now: `paths` [A,T,2], the likeliest modes in the map frame."""
        names = id.tolist()
        before = self._of_now(stamp_ns, names)
        judged = np.isfinite(before).all(axis=(1, 2))
        spread = np.full(len(names), np.nan)
        seconds = np.full((len(names), len(self.radii)), np.nan)
        spread[judged] = dispersion(before[judged])
        for column, radius in enumerate(self.radii):
            steps = convergence_to_range(before[judged], present[judged], radius)
            seconds[judged, column] = STEP * steps
        self._said.append(_Said(stamp_ns, {name: row for row, name in enumerate(names)}, paths))
        oldest = stamp_ns - round(HORIZON * STEP * 1e9) - _SLACK_NS
        while self._said[0].stamp_ns < oldest:
            self._said.popleft()
        return Stability(spread, seconds)

    def _of_now(self, stamp_ns: int, names: list[str]) -> Array:
        """The forecasts [A,T,2] of the agents' present from 1..T steps before, each the one nearest
        to that instant; NaN where there is none."""
        before = np.full((len(names), HORIZON, 2), np.nan)
        for k in range(HORIZON):
            due = stamp_ns - (k + 1) * round(STEP * 1e9)
            near = [said for said in self._said if abs(said.stamp_ns - due) <= _SLACK_NS]
            # From the farthest on, so that the nearest, of two the older, stays.
            for said in sorted(near, key=lambda s: (-abs(s.stamp_ns - due), -s.stamp_ns)):
                pairs = [(i, said.row[n]) for i, n in enumerate(names) if n in said.row]
                if pairs:
                    agents, rows = np.transpose(pairs)
                    before[agents, k] = said.paths[rows, k]
        return before
