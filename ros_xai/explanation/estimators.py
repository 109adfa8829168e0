"""Estimators of Sobol indices from outputs at the rows of A, B and C_i.

Throughout: a, b [..., N] are the outputs at A and B; c [..., d, N] those at C_1..C_d, NaN where a
row was not run for a cell. Leading axes are separate outputs of the same function.
Outputs are centred on the mean of a first: Homma's and Saltelli's formulas are not invariant to a
shift, and a logit's offset would drown the indices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def jansen(a: Array, c: Array, variance: Array) -> Array:
    """S_Ti = sum((a - c_i)^2) / (2 N V). Source: Jansen, Comput. Phys. Commun. 1999."""
    return _mean((a - c) ** 2) / (2 * variance)


def homma(a: Array, c: Array, variance: Array) -> Array:
    """S_Ti = (V - mean(a c_i) + f0^2) / V, f0 = 0. Source: Homma and Saltelli, RESS 1996.

    V has N - 1 below and the mean N, so a cell without effect gets 1 / N.
    """
    return (variance - _mean(a * c)) / variance


def saltelli(a: Array, c: Array, variance: Array) -> Array:
    """S_Ti = 1 - (mean(a c_i) - f0^2) / V, f0 = 0: Homma's, written otherwise.

    Source: Saltelli et al., "Global Sensitivity Analysis: The Primer", 2008.
    """
    return 1 - _mean(a * c) / variance


def janon(a: Array, c: Array, variance: Array) -> Array:
    """S_Ti = 1 - (mean(a c_i) - f0i^2) / Vi, the moments over a and c_i together.

    Source: Janon et al., ESAIM 2014, eq. 6.
    """
    f0 = _mean((a + c) / 2)
    own_variance = _mean((a**2 + c**2) / 2) - f0**2
    return 1 - _ratio(_mean(a * c) - f0**2, own_variance)


def glen(a: Array, c: Array, variance: Array) -> Array:
    """S_Ti = 1 - Pearson correlation of a and c_i. Source: Glen and Isaacs, EMS 2012."""
    a = a + 0 * c  # NaN where c is, so that both have the same rows
    a, c = a - _mean(a)[..., None], c - _mean(c)[..., None]
    return 1 - _ratio(_mean(a * c), np.sqrt(_mean(a**2) * _mean(c**2)))


ESTIMATORS: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    "jansen": jansen,
    "homma": homma,
    "saltelli": saltelli,
    "janon": janon,
    "glen": glen,
}


def total_order(a: Array, b: Array, c: Array, estimator: str = "jansen") -> Array:
    """Total-order indices S_Ti [..., d]: the share of the variance that cell i takes part in.

    a, b: [..., N] outputs at A and B (b is not used: pass a
    where it was not run); c: [..., d, N] at C_1..C_d.
    May come out slightly negative. A constant function (see `variance`) has indices of 0.

    Raises:
        ValueError: unknown estimator, fewer than 2 designs, or shapes that do not fit.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"expected an estimator of {', '.join(ESTIMATORS)}; got {estimator!r}")
    a, c, spread = _prepared(a, c)
    indices = ESTIMATORS[estimator](a, c, np.where(spread > 0, spread, 1))
    return np.where(spread > 0, indices, 0.0)


def first_order(a: Array, b: Array, c: Array) -> Array:
    """First-order indices S_i [..., d] = mean(b (c_i - a)) / V: what cell i does on its own.

    A cell without effect gets exactly 0. Source: Saltelli et al., Comput. Phys. Commun. 2010,
    table 2b.
    """
    centre = np.mean(a, -1, keepdims=True)
    a, c, spread = _prepared(a, c)
    effect = _mean((b - centre)[..., None, :] * (c - a))
    return np.where(spread > 0, effect / np.where(spread > 0, spread, 1), 0.0)


def slope(a: Array, c: Array, step: Array) -> tuple[Array, Array]:
    """Mean change of the output per unit of variable i, over the steps A_i - B_i from C_i to A, and
    its standard error.

    mean((a - c_i) step_i) / mean(step_i^2); a [..., N], c [..., d, N], step [d, N] -> [..., d].
    The error is of the linear fit, N designs taken for independent.
    """
    run = np.where(np.isnan(c), np.nan, step)
    change, power = (a[..., None, :] - c) * run, np.maximum(_mean(run**2), 1e-12)
    fitted = _mean(change) / power
    left = change - fitted[..., None] * run**2
    designs = np.isfinite(c).sum(-1)
    return fitted, np.sqrt(_mean(left**2) / np.maximum(designs - 1, 1)) / power


def variance(a: Array) -> Array:
    """V [...] = sum((a - f0)^2) / (N - 1) of outputs a [..., N]; 0 if they differ by rounding only.

    Rounding: a network's output for one input depends in its last bits on the rest of its batch.
    """
    if a.shape[-1] < 2:
        raise ValueError(f"a variance needs at least 2 designs; got {a.shape[-1]}")
    spread = np.var(a, axis=-1, ddof=1, dtype=np.float64)
    precision = np.finfo(a.dtype if a.dtype.kind == "f" else np.float64).eps
    rounding = 8 * precision * np.abs(a).max(-1)
    return np.where(spread > rounding.astype(np.float64) ** 2, spread, 0.0)


def standard_error(
    index: Callable[[Array, Array, Array], Array],
    a: Array,
    b: Array,
    c: Array,
    groups: int = 32,
) -> Array:
    """Jackknife standard error [..., d] of `index(a, b, c)`, leaving out groups of designs.

    It takes designs for independent, so it is too large rather than too small for designs that
    fill the space evenly. Infinite for fewer than 3 designs. Source: Shao and Wu, Annals of
    Statistics 1989, for the grouped jackknife.
    """
    designs = a.shape[-1]
    groups = min(groups, designs)
    if designs < 3:
        return np.full(c.shape[:-1], np.inf)
    without = []
    for group in range(groups):
        keep = np.arange(designs) % groups != group
        without.append(index(a[..., keep], b[..., keep], c[..., keep]))
    return np.sqrt((groups - 1) * np.var(without, axis=0))


def _prepared(a: Array, c: Array) -> tuple[Array, Array, Array]:
    """a [..., 1, N] and c, centred on the mean of a, and the variance [..., 1]."""
    if c.shape != (*a.shape[:-1], *c.shape[-2:-1], *a.shape[-1:]):
        raise ValueError(f"expected a [..., N] and c [..., d, N]; got {a.shape} and {c.shape}")
    spread = variance(a)[..., None]
    centre = np.mean(a, -1, keepdims=True, dtype=np.float64)
    return (a - centre)[..., None, :], c - centre[..., None], spread


def _mean(values: Array) -> Array:
    """Mean over designs, of those that were run."""
    return np.nanmean(values, axis=-1)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """1 where the denominator is 0: a cell without a spread of its own has an index of 0."""
    positive = denominator > 0
    return np.where(positive, numerator / np.where(positive, denominator, 1), 1.0)
