"""How faithful an attribution is to the network it explains.

Common to all: a pixel is removed by putting the baseline's value in all its channels, and scored is
what the target makes of the outputs, so probabilities for the usual figures. An attribution is an
`Attribution` or a map [H, W] or [gh, gw]. Ties go in reading order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.masks import upsampler
from ros_xai.explanation.perturbations import Baseline, zero
from ros_xai.explanation.scoring import Predict, Scorer, batches
from ros_xai.explanation.targets import Target

Map = Attribution | NDArray[np.floating]
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Curve:
    """Scores [steps + 1] after shares [steps + 1] of the pixels were removed or put in."""

    shares: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Mean of the scores over the shares, by trapezoids."""
        return float(np.trapezoid(self.scores, self.shares))


def curves(
    predict: Predict,
    image: Image,
    attribution: Map,
    target: Target | None = None,
    steps: int = 10,
    baseline: Baseline = zero,
    batch_size: int = 32,
) -> tuple[Curve, Curve]:
    """The curves of deletion and insertion: the most important pixels go first, or come first.

    image: [C, H, W]; target: outputs to [n]; steps: equal shares of the pixels.
    Source: Petsiuk et al., BMVC 2018 (arXiv 1806.07421), section 4.
    """
    heat = heatmap(attribution, image)
    place = np.empty(heat.size, dtype=np.int64)
    place[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size)
    place = place.reshape(heat.shape)
    counts = np.linspace(0, heat.size, steps + 1).astype(np.int64)
    score = Scorer(predict, target).single
    background = baseline(image)

    def curve(start: Image, end: Image) -> Curve:
        scores = np.empty(steps + 1)
        for part in batches(steps + 1, batch_size):
            changed = place < counts[part, None, None]
            scores[part] = score(np.where(changed[:, None], end, start))
        return Curve(counts / heat.size, scores)

    return curve(image, background), curve(background, image)


def deletion(*arguments: Any, **options: Any) -> float:
    """Area under the score as pixels go: the lower the better. Arguments as `curves`."""
    return curves(*arguments, **options)[0].area


def insertion(*arguments: Any, **options: Any) -> float:
    """Area under the score as pixels come: the higher the better. Arguments as `curves`."""
    return curves(*arguments, **options)[1].area


def mu_fidelity(
    predict: Predict,
    image: Image,
    attribution: Map,
    target: Target | None = None,
    subsets: int = 200,
    grid: tuple[int, int] = (9, 9),
    share: float = 0.2,
    correlation: Literal["spearman", "pearson"] = "spearman",
    baseline: Baseline = zero,
    batch_size: int = 32,
    seed: int = 0,
) -> float:
    """Correlation, over random subsets of cells, of their attribution with the drop of the score.

    corr_S(sum_{p in S} g(p), f(x) - f(x with S removed)), |S| = `share` of the cells of `grid`;
    in [-1, 1], higher is better, 0 if either side is constant. Source: Bhatt et al., IJCAI 2020,
    definition 3 (Pearson); Spearman and the other defaults as in the authors' toolbox.
    """
    heat = heatmap(attribution, image)
    rng = np.random.default_rng(seed)
    cells = grid[0] * grid[1]
    size = max(1, round(share * cells))
    chosen = rng.random((subsets, cells)).argsort(1).argsort(1) < size
    upsample = upsampler(grid, heat.shape, "nearest")
    score = Scorer(predict, target).single
    background = baseline(image)
    importance, drop = np.empty(subsets), np.empty(subsets)
    whole = score(image[None])[0]
    for part in batches(subsets, batch_size):
        removed = upsample(chosen[part].reshape(-1, *grid))
        importance[part] = np.tensordot(removed, heat)
        drop[part] = whole - score(np.where(removed[:, None] > 0, background, image))
    if np.ptp(importance) == 0 or np.ptp(drop) == 0:
        return 0.0
    correlate = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}[correlation]
    return float(correlate(importance, drop).statistic)


def pointing_game(attribution: Map, region: NDArray[np.bool_], tolerance: int = 15) -> bool:
    """Whether the maximum falls on the region [H, W], or at most `tolerance` pixels beside it.

    Source: Zhang et al., ECCV 2016, section 4.1.
    """
    heat = heatmap(attribution, region)
    v, u = np.unravel_index(np.argmax(heat), heat.shape)
    distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
    return bool(distance[v, u] <= tolerance)


def heatmap(attribution: Map, image: NDArray[np.generic]) -> NDArray[np.float32]:
    """The attribution as a map [H, W] of the last two axes of `image`."""
    if not isinstance(attribution, Attribution):
        shape = (image.shape[-2], image.shape[-1])
        attribution = Attribution("map", np.asarray(attribution, dtype=np.float64), shape, 0)
    return attribution.heatmap()
