"""Sobol indices of any function on the unit cube.

Source: Fel et al., "Look at the Variance! Efficient Black-box Explanations with Sobol-based
Sensitivity Analysis", NeurIPS 2021 (arXiv 2111.04138), section 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ros_xai.explanation import estimators
from ros_xai.explanation.designs import FROM_A, FROM_B, Seed, draw, points_at
from ros_xai.explanation.estimators import total_order

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

ORDERS = ("total", "first")


class ConstantOutputWarning(UserWarning):
    """The function did not change over the designs: every index was set to 0."""


@dataclass(frozen=True)
class SobolIndices:
    """Indices [d] of the variables, None where the order was not asked for.

    total: S_Ti, interactions included. first: S_i, the variable's own. standard_error: of `total`;
    of `first` when it was the only order. variance: of the output. forwards: evaluations spent.
    """

    total: Array | None
    first: Array | None
    standard_error: Array
    variance: float
    forwards: int


@dataclass(frozen=True)
class PairIndices:
    """Second-order indices [P] of pairs of variables.

    closed: Var(E[Y | X_i, X_j]) / V, of the pair together. interaction: closed - S_i - S_j, of the
    pair beyond its members. standard_error: of `interaction`.
    """

    pairs: tuple[tuple[int, int], ...]
    closed: Array
    interaction: Array
    standard_error: Array
    forwards: int


def sobol_indices(
    function: Function,
    dimensions: int,
    designs: int = 32,
    estimator: str = "jansen",
    sampler: str = "sobol",
    seed: Seed = None,
    order: Sequence[str] = ("total",),
) -> SobolIndices:
    """Sobol indices of `function`: float [n, d] in [0, 1) -> [n].

    Costs N (d + 1) evaluations for total order alone and N (d + 2) with first order, in one call
    in the order A, B, C_1..C_d. `estimator` (of `estimators.ESTIMATORS`) is for total order.

    Raises:
        ValueError: unknown estimator, sampler or order, fewer than 2 designs, or outputs that are
            not [n] or not finite.
    """
    unknown = set(order) - set(ORDERS)
    if unknown or not order:
        raise ValueError(f"expected orders of {ORDERS}; got {tuple(order)}")
    A, B = draw(dimensions, designs, sampler, seed)
    unmixed = [FROM_A, FROM_B] if "first" in order else [FROM_A]
    slots = [*unmixed, *range(dimensions)]
    rows = np.tile(np.arange(designs), len(slots))
    outputs = evaluate(function, points_at(A, B, rows, np.repeat(slots, designs)))
    y = outputs.reshape(len(slots), designs)
    a, b, c = y[0], y[len(unmixed) - 1], y[len(unmixed) :]
    warn_if_constant(estimators.variance(a))
    total = partial(total_order, estimator=estimator)
    main = total if "total" in order else estimators.first_order
    return SobolIndices(
        total=total(a, b, c) if "total" in order else None,
        first=estimators.first_order(a, b, c) if "first" in order else None,
        standard_error=estimators.standard_error(main, a, b, c),
        variance=float(estimators.variance(a)),
        forwards=outputs.size,
    )


def pair_indices(
    function: Function,
    dimensions: int,
    pairs: Sequence[tuple[int, int]],
    designs: int = 32,
    sampler: str = "sobol",
    seed: Seed = None,
) -> PairIndices:
    """Second-order indices of chosen pairs, from rows C_ij that take columns i and j from B.

    closed = mean(b (c_ij - a)) / V, and the interaction mean(b (c_ij - c_i - c_j + a)) / V: exactly
    0 for a variable without effect. Costs N (2 + P + members of the pairs) evaluations.

    Raises:
        ValueError: a pair is not of two different variables in range; else as `sobol_indices`.
    """
    if not pairs or not all(
        0 <= i < dimensions and 0 <= j < dimensions and i != j for i, j in pairs
    ):
        raise ValueError(f"expected pairs of different variables below {dimensions}; got {pairs}")
    A, B = draw(dimensions, designs, sampler, seed)
    members = sorted({variable for pair in pairs for variable in pair})
    columns = [[member] for member in members] + [list(pair) for pair in pairs]
    mixed = np.repeat(A[None], len(columns), axis=0)
    for block, taken in zip(mixed, columns):
        block[:, taken] = B[:, taken]
    outputs = evaluate(function, np.concatenate([A, B, mixed.reshape(-1, dimensions)]))
    a, b, *c = outputs.reshape(-1, designs)
    warn_if_constant(estimators.variance(a))
    alone, together = np.stack(c[: len(members)]), np.stack(c[len(members) :])
    left = alone[[members.index(i) for i, _ in pairs]]
    right = alone[[members.index(j) for _, j in pairs]]
    beyond = together - left - right + 2 * a
    return PairIndices(
        pairs=tuple((i, j) for i, j in pairs),
        closed=estimators.first_order(a, b, together),
        interaction=estimators.first_order(a, b, beyond),
        standard_error=estimators.standard_error(estimators.first_order, a, b, beyond),
        forwards=outputs.size,
    )


def evaluate(function: Function, points: Array) -> Array:
    """Outputs [n] of `function` at points [n, d], checked."""
    outputs = np.asarray(function(points))
    if outputs.shape != (len(points),):
        raise ValueError(
            f"expected one output for each of {len(points)} points; got {outputs.shape}"
        )
    if not np.isfinite(outputs).all():
        raise ValueError("the function gave outputs that are not finite; indices need finite ones")
    return outputs


def warn_if_constant(variance: Array) -> None:
    """Warns when a variance is 0: the indices then say nothing about importance."""
    if np.any(variance == 0):
        warnings.warn(
            "the output does not change with the input: its indices are set to 0",
            ConstantOutputWarning,
            stacklevel=3,
        )
