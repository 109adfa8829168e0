"""How steady the forecasts of a running forecaster are: each agent's present against what was said
of it before (dispersion and convergence-to-range, section 3.3 of CAB)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

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


class StabilityMonitor:
    """Keeps the likeliest forecasts of the last six seconds by agent."""

    def __init__(self, radii: tuple[float, ...]) -> None:
        self.radii = radii
        self._said: dict[str, deque[tuple[int, Array]]] = {}

    def clear(self) -> None:
        """Forget all forecasts."""
        self._said = {}

    def update(
        self, stamp_ns: int, id: NDArray[np.str_], present: Array, paths: Array
    ) -> Stability:
        """Judge the agents' positions `present` [A,2] by what was said before, then take up what is
        said now: `paths` [A,T,2], the likeliest modes in the map frame."""
        names = id.tolist()
        spread = np.full(len(names), np.nan)
        seconds = np.full((len(names), len(self.radii)), np.nan)
        for i, name in enumerate(names):
            before = self._of_now(stamp_ns, name)
            if before is not None:
                spread[i] = dispersion(before)
                seconds[i] = [
                    STEP * convergence_to_range(before, present[i], radius) for radius in self.radii
                ]
            self._said.setdefault(name, deque()).append((stamp_ns, paths[i]))
        self._forget(stamp_ns)
        return Stability(spread, seconds)

    def _of_now(self, stamp_ns: int, name: str) -> Array | None:
        """The forecasts [T,2] of the agent's present from 1..T steps before."""
        said = self._said.get(name)
        if not said:
            return None
        made = np.array([stamp for stamp, _ in said])
        due = stamp_ns - np.arange(1, HORIZON + 1) * round(STEP * 1e9)
        nearest = np.abs(made[:, None] - due).argmin(axis=0)
        if (np.abs(made[nearest] - due) > _SLACK_NS).any():
            return None
        return np.stack([said[row][1][k] for k, row in enumerate(nearest)])

    def _forget(self, stamp_ns: int) -> None:
        oldest = stamp_ns - round(HORIZON * STEP * 1e9) - _SLACK_NS
        for name, said in list(self._said.items()):
            while said and said[0][0] < oldest:
                said.popleft()
            if not said:
                del self._said[name]
