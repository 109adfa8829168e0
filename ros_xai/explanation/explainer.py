"""Sobol attribution of one answer of a black box: streamed, anytime, bounded in memory.

Source: Fel et al., NeurIPS 2021 (arXiv 2111.04138). Beyond the paper: designs are spent row by row
so that every prefix of them is an estimate with its standard error, and cells whose place is
settled are run no more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ros_xai.explanation import estimators
from ros_xai.explanation.attribution import Attribution, unsettled
from ros_xai.explanation.designs import FROM_A, FROM_B, draw, points_at
from ros_xai.explanation.perturbations import Blend, Perturbation
from ros_xai.explanation.scoring import Predict, Scorer, batches
from ros_xai.explanation.sobol import PairIndices, pair_indices, warn_if_constant
from ros_xai.explanation.targets import Target

Array = NDArray[np.float64]
Cell = tuple[int, int]
Index = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Refinement:
    """When to publish, where to spend, and when to stop.

    every: an attribution after at least so many forwards. max_forwards: no more than that.
    A cell is settled, and run no more, after `min_designs` designs when twice its standard error
    is below `tolerance` of the largest index, or below its distance from the boundary between the
    `top` cells and the others. The refinement ends when all cells are settled.
    """

    every: int = 128
    max_forwards: int = 4096
    min_designs: int = 8
    top: int = 8
    tolerance: float = 0.1


@dataclass(frozen=True)
class SobolExplainer:
    """Total-order Sobol indices of the cells of an input.

    predict: a batch of inputs float32 [n, C, H, W] (for `Presence` [n, K, ...]) to outputs.
    grid: cells (rows, columns); choose them nearly square, as (4, 8) for an image twice as wide as
    high. designs: N; `explain` costs N (d + 1) forwards for d cells, N (d + 2) with `first_order`.
    batch_size: the most inputs that ever exist at once.
    masks: "binary", where a cell is hidden or kept as in the metrics of faithfulness and C_i flips
    cell i of A, so that no forward is spent on an unchanged cell; or "uniform" in [0, 1] (the
    paper), which `first_order` needs.
    The same seed gives every image the same masks, so that attributions can be compared.
    """

    predict: Predict
    grid: tuple[int, int] = (8, 8)
    designs: int = 32
    perturbation: Perturbation = field(default_factory=Blend)
    batch_size: int = 32
    estimator: str = "jansen"
    sampler: str = "sobol"
    masks: Literal["uniform", "binary"] = "binary"
    first_order: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks not in ("uniform", "binary"):
            raise ValueError(f"expected masks uniform or binary; got {self.masks!r}")
        if self.masks == "binary" and self.first_order:
            raise ValueError("first order needs A and B independent: use uniform masks")

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]

    def explain(self, image: NDArray[np.float32], target: Target | None = None) -> Attribution:
        """The attribution of `target`, from N designs with every cell.

        image: float32 [C, H, W] in the network's own units. target: outputs to [n] or [n, T] (all
        by the same forwards); None where `predict` gives scores. Warns with
        ConstantOutputWarning, and gives zeros, when the output does not react to the masks.
        """
        forwards = self.designs * (self.cells + len(self._unmixed))
        everything = Refinement(forwards, forwards, min_designs=self.designs)
        *_, attribution = self.refine(image, target, everything)
        warn_if_constant(~np.asarray(attribution.constant))
        return attribution

    def refine(
        self,
        image: NDArray[np.float32],
        target: Target | None = None,
        refinement: Refinement = Refinement(),
    ) -> Iterator[Attribution]:
        """Attributions that improve, each from all forwards so far; arguments as `explain`.

        May be left at any time. After N designs come further N, from a scramble of their own.
        Batches are full but for the last one.
        """
        score = self._mask_scores(image, target)
        run = _Run(self, image.shape[-2:])
        jobs = itertools.islice(self._jobs(run, refinement), refinement.max_forwards)
        published = 0
        while batch := list(itertools.islice(jobs, self.batch_size)):
            rows, slots = np.array(batch).T
            run.put(rows, slots, score(points_at(run.A, run.B, rows, slots)))
            if run.forwards - published >= refinement.every and run.usable:
                published = run.forwards
                yield run.attribution()
        if run.forwards > published:
            yield run.attribution()

    def interactions(
        self,
        image: NDArray[np.float32],
        pairs: Sequence[tuple[Cell, Cell]],
        target: Target | None = None,
    ) -> PairIndices:
        """Second-order indices of pairs of cells, each cell a (row, column), for one target."""
        score = self._mask_scores(image, target)

        def function(points: Array) -> Array:
            parts = [score(points[part]) for part in batches(len(points), self.batch_size)]
            return np.concatenate(parts, axis=1)[0]

        columns = self.grid[1]
        flat = [(i * columns + j, k * columns + m) for (i, j), (k, m) in pairs]
        return pair_indices(function, self.cells, flat, self.designs, self.sampler, self.seed)

    @property
    def _unmixed(self) -> list[int]:
        return [FROM_A, FROM_B] if self.first_order else [FROM_A]

    def _mask_scores(
        self, image: NDArray[np.float32], target: Target | None
    ) -> Callable[[Array], Array]:
        """Scores [T, n] of masks [n, cells]."""
        perturb = self.perturbation(image, self.grid)
        score = Scorer(self.predict, target)
        return lambda points: score(perturb(points.reshape(-1, *self.grid)))

    def _jobs(self, run: _Run, refinement: Refinement) -> Iterator[tuple[int, int]]:
        """Rows and slots to run, row by row, until every cell is settled."""
        for row in itertools.count():
            cells = run.unsettled(refinement) if row >= refinement.min_designs else run.cells
            if not len(cells):
                return
            if row == len(run.A):
                if row and self.sampler == "sobol_unscrambled":
                    return  # it has no other scramble: the same designs would count twice
                run.extend()
            yield from ((row, int(slot)) for slot in (*self._unmixed, *cells))


class _Run:
    """Designs A, B [R, d] and their outputs y [T, d + 2, R], NaN where a slot was not run.

    y's second axis is indexed by slots: cells first, B and A last.
    """

    def __init__(self, explainer: SobolExplainer, shape: tuple[int, int]) -> None:
        self.explainer = explainer
        self.shape = shape
        self.cells = np.arange(explainer.cells)
        self.rng = np.random.default_rng(explainer.seed)
        self.A, self.B = np.empty((2, 0, explainer.cells))
        self.y = np.empty((1, explainer.cells + 2, 0))
        self.forwards = 0

    def extend(self) -> None:
        """Another N designs."""
        A, B = draw(len(self.cells), self.explainer.designs, self.explainer.sampler, self.rng)
        if self.explainer.masks == "binary":
            A = np.round(A)
            B = 1 - A
        self.A, self.B = np.concatenate([self.A, A]), np.concatenate([self.B, B])

    def put(self, rows: NDArray[np.int64], slots: NDArray[np.int64], scores: Array) -> None:
        """Stores scores [T, n] of the jobs."""
        targets, known, wanted = len(scores), self.y.shape[2], len(self.A)
        if known < wanted:
            y = np.full((targets, len(self.cells) + 2, wanted), np.nan, scores.dtype)
            y[:, :, :known] = self.y
            self.y = y
        self.y[:, slots, rows] = scores
        self.forwards += len(rows)

    @property
    def _known(self) -> NDArray[np.bool_]:
        """Rows [R] of A that have been run."""
        return np.isfinite(self.y[0, FROM_A])

    @property
    def usable(self) -> bool:
        """True once every cell has been run in two designs, and a variance can be told."""
        return self.y.shape[2] > 1 and bool(np.isfinite(self.y[0, :FROM_B, :2]).all())

    def attribution(self) -> Attribution:
        if not self.usable:
            raise ValueError(
                f"two designs of {len(self.cells)} cells need {2 * len(self.cells) + 2} forwards; "
                f"got {self.forwards}: raise max_forwards or designs"
            )
        total, a, b, c = self._outputs()
        shape = (*self.y.shape[:1], *self.explainer.grid) if len(a) > 1 else self.explainer.grid
        first = estimators.first_order(a, b, c) if self.explainer.first_order else None
        slope, slope_error = estimators.slope(a, c, (self.A - self.B)[self._known].T)
        return Attribution(
            method="sobol",
            values=total(a, b, c).reshape(shape),
            shape=self.shape,
            forwards=self.forwards,
            standard_error=estimators.standard_error(total, a, b, c).reshape(shape),
            slope=slope.reshape(shape),
            slope_error=slope_error.reshape(shape),
            first=None if first is None else first.reshape(shape),
            constant=np.squeeze(estimators.variance(a) == 0),
        )

    def unsettled(self, refinement: Refinement) -> NDArray[np.int64]:
        """Cells that any of the targets wants to be run once more."""
        if not self.usable:
            return self.cells
        total, a, b, c = self._outputs()
        errors = estimators.standard_error(total, a, b, c)
        left = unsettled(total(a, b, c), errors, refinement.top, refinement.tolerance)
        return np.flatnonzero(left.any(0))

    def _outputs(self) -> tuple[Index, Array, Array, Array]:
        """The index, and a, b [T, R'], c [T, d, R'] of the rows whose a is known."""
        y = self.y[:, :, self._known]
        a = y[:, FROM_A]
        return self._total, a, y[:, FROM_B] if self.explainer.first_order else a, y[:, :FROM_B]

    def _total(self, a: Array, b: Array, c: Array) -> Array:
        total = estimators.total_order(a, b, c, self.explainer.estimator)
        # A flip always changes the cell; B independent of A would do so in half of the rows.
        return total / 2 if self.explainer.masks == "binary" else total
