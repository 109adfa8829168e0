"""First-order effects of the cells of an input, to which every forward contributes.

A flip of Sobol's design for total order tells of one cell. Here masks are two-level designs folded
over: of a Hadamard matrix each cell takes a column, so that columns are balanced and orthogonal,
and every mask is run with its complement, which takes out interactions of even order (Box and
Hunter, Technometrics 1961, designs of resolution IV). What is left out is what total order is for:
cells that matter only together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from ros_xai.explanation import estimators
from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.perturbations import Blend, Perturbation
from ros_xai.explanation.scoring import Predict, Scorer, batches
from ros_xai.explanation.sobol import warn_if_constant
from ros_xai.explanation.targets import Target

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MainEffects:
    """Signed roots of the first-order Sobol indices of cells that are hidden or kept by chance.

    With s = 1 where a cell is kept and -1 where it is hidden, effect_i = E[y s_i] / sqrt(V[y]): its
    square is the first-order index S_i. By least squares over the halved differences of the pairs.

    predict, grid, perturbation, batch_size: as `SobolExplainer`. pairs: masks, each run with its
    complement, as many as cells at least; multiples of the next power of two from there on are
    balanced. The same seed gives every image the same masks.
    """

    predict: Predict
    grid: tuple[int, int] = (8, 8)
    pairs: int = 256
    perturbation: Perturbation = field(default_factory=Blend)
    batch_size: int = 32
    seed: int = 0

    def explain(self, image: NDArray[np.float32], target: Target | None = None) -> Attribution:
        """The attribution of `target` from 2 `pairs` forwards; as `SobolExplainer.explain`.

        Warns with ConstantOutputWarning, and gives zeros, when the output does not react.
        """
        *_, attribution = self.refine(image, target, every=2 * self.pairs)
        warn_if_constant(~np.asarray(attribution.constant))
        return attribution

    def refine(
        self, image: NDArray[np.float32], target: Target | None = None, every: int = 128
    ) -> Iterator[Attribution]:
        """Attributions after at least `every` forwards each, from all pairs so far.

        Raises ValueError for fewer pairs than cells: their effects could not be told apart.
        """
        if self.pairs < (cells := self.grid[0] * self.grid[1]):
            raise ValueError(f"{cells} cells need as many pairs of masks; got {self.pairs}")
        perturb, score = self.perturbation(image, self.grid), Scorer(self.predict, target)
        signs = self._signs()
        masks = np.stack([signs > 0, signs < 0], axis=1).reshape(-1, *self.grid).astype(np.float32)
        scores: list[Array] = []
        published = 0
        for part in batches(len(masks), self.batch_size):
            scores.append(score(perturb(masks[part])))
            if part.stop == len(masks) or (part.stop - published >= every and part.stop > 1):
                published = part.stop
                y = np.concatenate(scores, axis=1)
                yield self._attribution(signs, y, image.shape[-2:])

    def _signs(self) -> Array:
        """[pairs, cells] of 1 and -1, block by block."""
        rng = np.random.default_rng(self.seed)
        cells = self.grid[0] * self.grid[1]
        matrix = hadamard(1 << (cells - 1).bit_length())
        blocks = [fold_over(matrix, cells, rng) for _ in range(-(-self.pairs // len(matrix)))]
        return np.concatenate(blocks)[: self.pairs]

    def _attribution(self, signs: Array, y: Array, shape: tuple[int, int]) -> Attribution:
        """From scores [T, forwards], of a pair one after the other; half a pair waits."""
        pairs = y.shape[1] // 2
        y, signs = y[:, : 2 * pairs], signs[:pairs]
        halved = (y[:, ::2] - y[:, 1::2]) / 2
        spread = np.sqrt(estimators.variance(y))[:, None]
        gram = np.linalg.pinv(signs.T @ signs)
        effects = halved @ signs @ gram
        free = pairs - signs.shape[1]
        noise = ((halved - effects @ signs.T) ** 2).sum(1, keepdims=True) / max(free, 1)
        error = np.sqrt(noise * np.diag(gram)) if free > 0 else np.full(effects.shape, np.inf)
        known = np.where(spread > 0, spread, 1)
        cells = (len(y), *self.grid) if len(y) > 1 else self.grid
        values = np.where(spread > 0, effects / known, 0.0)
        return Attribution(
            method="main effects",
            values=values.reshape(cells),
            shape=shape,
            forwards=2 * pairs,
            standard_error=(error / known).reshape(cells),
            first=(values**2).reshape(cells),
            constant=np.squeeze(spread == 0),
        )


def fold_over(matrix: NDArray[np.integer], cells: int, rng: np.random.Generator) -> Array:
    """Half of a block [K, cells]: rows and columns of a Hadamard matrix [K, K] in random order, the
    columns' signs at random, so that every mask is as likely as any other; -1 times it is the rest.
    """
    columns = rng.permutation(len(matrix))[:cells]
    signs = rng.choice([-1.0, 1.0], cells)
    return rng.permutation(matrix[:, columns] * signs, axis=0)
