"""Where to evaluate a function for its Sobol indices: the matrices A, B and the rows C_i.

C_i is A with column i taken from B (Fel et al., NeurIPS 2021, section 3; Saltelli et al., 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

Array = NDArray[np.float64]
Seed = int | np.random.Generator | None

FROM_A, FROM_B = -1, -2
"""Slots of the unmixed rows; a slot i >= 0 is C_i."""

Sampler = Callable[[int, int, np.random.Generator], Array]


def _sobol(points: int, dimensions: int, rng: np.random.Generator) -> Array:
    return qmc.Sobol(dimensions, seed=rng).random(_power_of_two(points))


def _sobol_unscrambled(points: int, dimensions: int, rng: np.random.Generator) -> Array:
    return qmc.Sobol(dimensions, scramble=False).random(_power_of_two(points))


def _halton(points: int, dimensions: int, rng: np.random.Generator) -> Array:
    return qmc.Halton(dimensions, seed=rng).random(points)


def _latin_hypercube(points: int, dimensions: int, rng: np.random.Generator) -> Array:
    return qmc.LatinHypercube(dimensions, seed=rng).random(points)


def _monte_carlo(points: int, dimensions: int, rng: np.random.Generator) -> Array:
    return rng.random((points, dimensions))


SAMPLERS: Mapping[str, Sampler] = {
    "sobol": _sobol,
    "sobol_unscrambled": _sobol_unscrambled,
    "halton": _halton,
    "latin_hypercube": _latin_hypercube,
    "monte_carlo": _monte_carlo,
}
"""`sobol_unscrambled` is the order the paper's authors use: exact to compare with, poor at small
sizes (its first two points are constant). All others depend on the seed."""


def _power_of_two(points: int) -> int:
    if points & (points - 1):
        raise ValueError(
            f"a Sobol sequence is balanced only at powers of two; got {points} designs: "
            f"take {1 << points.bit_length()}, or another sampler"
        )
    return points


def draw(
    dimensions: int, designs: int, sampler: str = "sobol", seed: Seed = None
) -> tuple[Array, Array]:
    """A and B, each [designs, dimensions] in [0, 1): the two halves of one point set.

    One set of 2d-dimensional points and not two of d: A and B must be independent row by row.

    Raises:
        ValueError: unknown sampler, fewer than 1 design or dimension, or a Sobol sequence whose
            length is no power of two.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"expected a sampler of {', '.join(SAMPLERS)}; got {sampler!r}")
    if dimensions < 1 or designs < 1:
        raise ValueError(f"expected at least 1 dimension and design; got {dimensions}, {designs}")
    points = SAMPLERS[sampler](designs, 2 * dimensions, np.random.default_rng(seed))
    return points[:, :dimensions], points[:, dimensions:]


def points_at(A: Array, B: Array, rows: NDArray[np.int64], slots: NDArray[np.int64]) -> Array:
    """Points [n, d] of the jobs (rows[k], slots[k]): a row of A, of B or of C_slot.

    Made when they are needed, so that N (d + 2) of them never exist at once.
    """
    points = np.where((slots == FROM_B)[:, None], B[rows], A[rows])
    mixed = np.flatnonzero(slots >= 0)
    points[mixed, slots[mixed]] = B[rows[mixed], slots[mixed]]
    return points
