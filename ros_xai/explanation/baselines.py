"""Other black-box attributions, in the interface of `SobolExplainer`, to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.estimators import variance
from ros_xai.explanation.masks import Array, upsampler
from ros_xai.explanation.perturbations import Baseline, Blend, zero
from ros_xai.explanation.scoring import Predict, Scorer, batches
from ros_xai.explanation.targets import Target


@dataclass(frozen=True)
class Rise:
    """Mean of random smooth masks weighted by the score under them.

    sum_k y_k M_k / sum_k M_k with binary grids upsampled bilinearly and shifted at random.
    over: "realised", that sum of the masks, which has less noise as an offset of the scores drops
    out; or "expected", N E[M] in its place (the paper). Source: Petsiuk et al., BMVC 2018
    (arXiv 1806.07421), eq. 6; defaults of section 4 with 4000 masks.
    """

    predict: Predict
    grid: tuple[int, int] = (7, 7)
    masks: int = 4000
    keep: float = 0.5
    baseline: Baseline = zero
    batch_size: int = 32
    seed: int = 0
    over: Literal["realised", "expected"] = "realised"

    def explain(self, image: NDArray[np.float32], target: Target | None = None) -> Attribution:
        """Importance of every pixel; arguments as `SobolExplainer.explain`."""
        *_, attribution = self.refine(image, target, every=self.masks)
        return attribution

    def refine(
        self, image: NDArray[np.float32], target: Target | None = None, every: int = 128
    ) -> Iterator[Attribution]:
        """Attributions after at least `every` forwards each, from all masks so far."""
        height, width = image.shape[-2:]
        score = Scorer(self.predict, target)
        background = self.baseline(image)
        detail = image - background
        rng = np.random.default_rng(self.seed)
        weighted, covered = np.zeros((1, height * width)), np.zeros(height * width)
        seen = []
        done = published = 0
        for part in batches(self.masks, self.batch_size):
            masks = self._draw(part.stop - part.start, (height, width), rng)
            scores = score(background + detail * masks[:, None])
            seen.append(scores)
            flat = masks.reshape(len(masks), -1)
            weighted = weighted + scores @ flat
            covered += flat.sum(0)
            done += len(masks)
            if done - published >= every or done == self.masks:
                published = done
                sums = covered if self.over == "realised" else np.full(1, done * self.keep)
                values = (weighted / np.maximum(sums, 1e-4)).reshape(-1, height, width)
                yield Attribution(
                    "rise",
                    values[0] if len(values) == 1 else values,
                    (height, width),
                    done,
                    constant=_constant(np.concatenate(seen, axis=1)),
                )

    def _draw(self, count: int, shape: tuple[int, int], rng: np.random.Generator) -> Array:
        """Masks [count, *shape]: grids enlarged by one cell, cut at random offsets."""
        cell = tuple(-(-size // cells) for size, cells in zip(shape, self.grid))
        binary = rng.random((count, *self.grid)) < self.keep
        larger = upsampler(self.grid, (shape[0] + cell[0], shape[1] + cell[1]))(binary)
        top, left = (rng.integers(0, step, (count, 1)) for step in cell)
        rows, columns = top + np.arange(shape[0]), left + np.arange(shape[1])
        return larger[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None]]


@dataclass(frozen=True)
class Occlusion:
    """The drop of the score when one cell alone is replaced by the baseline: d + 1 forwards.

    Blind to redundancy: where either of two cells suffices, hiding one changes nothing.
    Source: Zeiler and Fergus, ECCV 2014, section 4.2, with cells side by side.
    """

    predict: Predict
    grid: tuple[int, int] = (8, 8)
    baseline: Baseline = zero
    batch_size: int = 32

    def explain(self, image: NDArray[np.float32], target: Target | None = None) -> Attribution:
        """Arguments as `SobolExplainer.explain`."""
        cells = self.grid[0] * self.grid[1]
        perturb = Blend(self.baseline, "nearest")(image, self.grid)
        score = Scorer(self.predict, target)
        masks = np.concatenate([np.ones((1, cells)), 1 - np.eye(cells)]).reshape(-1, *self.grid)
        parts = [score(perturb(masks[part])) for part in batches(len(masks), self.batch_size)]
        scores = np.concatenate(parts, axis=1)
        drop = (scores[:, :1] - scores[:, 1:]).reshape(-1, *self.grid)
        shape = (image.shape[-2], image.shape[-1])
        values = drop[0] if len(drop) == 1 else drop
        return Attribution("occlusion", values, shape, len(masks), constant=_constant(scores))


def _constant(scores: NDArray[np.float64]) -> NDArray[np.bool_] | bool:
    """[(T,)] of scores [T, n]: whether they differ by rounding only; of a single one unknown."""
    return np.squeeze(variance(scores) == 0) if scores.shape[1] > 1 else False


@dataclass(frozen=True)
class RandomCells:
    """Uniform noise: the floor that every method must beat."""

    grid: tuple[int, int] = (8, 8)
    seed: int = 0

    def explain(self, image: NDArray[np.float32], target: Target | None = None) -> Attribution:
        """Arguments as `SobolExplainer.explain`; the target does not matter."""
        values = np.random.default_rng(self.seed).random(self.grid)
        return Attribution("random", values, (image.shape[-2], image.shape[-1]), forwards=0)
