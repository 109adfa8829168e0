"""Palettes: shares of the classes in layouts, their distribution, and distances between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
IGNORE = 255


class PaletteError(ValueError):
    """A palette that cannot be asked for, with what was wrong and what was expected."""


def proportions_of(labels: NDArray[np.integer], classes: int) -> Floats:
    """Shares [N, C] of the classes in labels [N, H, W]; pixels of no class do not count."""
    counts = np.stack([np.bincount(label.ravel(), minlength=256) for label in labels])
    known = counts[:, :classes].astype(np.float64)
    return known / np.maximum(known.sum(axis=1, keepdims=True), 1)


def filled(label: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """A label [H, W] whose pixels of no class take the class of the nearest that has one.

    Raises PaletteError for a label in which none has.
    """
    empty = label >= classes
    if not empty.any():
        return label
    if empty.all():
        raise PaletteError(f"no pixel of the label has a class: expected some of 0..{classes - 1}")
    _, nearest = cv2.distanceTransformWithLabels(
        empty.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.uint8)
    table[nearest[~empty]] = label[~empty]
    return table[nearest]


@dataclass(frozen=True)
class PaletteModel:
    """Gaussian mixture over palettes: weights [K], means [K, C], covariances [K, C, C]."""

    weights: Floats
    means: Floats
    covariances: Floats

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Palettes [count, C]: drawn, clipped at 0 and renormalised."""
        # mixture weights kept in single precision do not sum to 1 in double
        chosen = rng.choice(len(self.weights), count, p=self.weights / self.weights.sum())
        drawn = np.stack(
            [
                rng.multivariate_normal(self.means[k], self.covariances[k], method="eigh")
                for k in chosen
            ]
        )
        drawn = np.maximum(drawn, 0)
        return drawn / drawn.sum(axis=1, keepdims=True)

    def completed(
        self, asked: Mapping[str, float], names: Sequence[str], rng: np.random.Generator
    ) -> Floats:
        """A palette [C] with the asked shares; the other classes as in a palette like it.

        Of 512 drawn palettes the nearest in the asked classes that has others gives the ratios of
        the rest; when the asked shares sum to 1 there is no rest.

        Raises:
            PaletteError: an unknown class, a share outside [0, 1], a sum above 1, or no class left
                for the rest.
        """
        check_shares(asked, names)
        index = [names.index(name) for name in asked]
        wanted = np.array(list(asked.values()), dtype=np.float64)
        palette = np.zeros(len(names))
        rest = 1 - wanted.sum()
        if rest > 1e-6:
            if len(index) == len(names):
                raise PaletteError(f"the shares of all classes sum to {wanted.sum():g}, not to 1")
            drawn = self.sample(512, rng)
            distance = np.abs(drawn[:, index] - wanted).sum(axis=1)
            drawn[:, index] = 0
            distance[drawn.sum(axis=1) <= 0] = np.inf
            near = drawn[np.argmin(distance)]
            if near.sum() <= 0:
                left = ", ".join(name for name in names if name not in asked)
                raise PaletteError(f"ask for {left}, too: no drawn palette has any for the rest")
            palette = near / near.sum() * rest
        palette[index] = wanted
        return palette / palette.sum()


def check_shares(asked: Mapping[str, float], names: Sequence[str]) -> None:
    """Raises PaletteError unless the shares can be asked of a layout of these classes."""
    if unknown := sorted(set(asked) - set(names)):
        raise PaletteError(f"unknown class {unknown[0]!r}; expected of {', '.join(names)}")
    for name, share in asked.items():
        if not 0 <= share <= 1:
            raise PaletteError(f"{name}={share}: expected a share in [0, 1]")
    if sum(asked.values()) > 1 + 1e-6:
        raise PaletteError(f"the shares sum to {sum(asked.values()):g}, more than 1")


def parse_palette(text: str) -> dict[str, float]:
    """`road=0.4,car=0.1` as {"road": 0.4, "car": 0.1}; PaletteError for anything else."""
    asked: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        if name.strip() in asked:
            raise PaletteError(f"{name.strip()} is asked for twice")
        try:
            asked[name.strip()] = float(value)
        except ValueError:
            raise PaletteError(f"{part!r}: expected CLASS=SHARE, as in road=0.4") from None
    if not asked:
        raise PaletteError("empty palette: expected CLASS=SHARE,..., as in road=0.4,car=0.1")
    return asked


def fit_palette(proportions: ArrayLike, most: int = 30, seed: int = 0) -> PaletteModel:
    """The mixture of 1 to `most` full-covariance Gaussians with the least AIC; needs scikit-learn.

    proportions: [N, C].
    """
    try:
        from sklearn.mixture import GaussianMixture
    except ModuleNotFoundError as missing:
        raise PaletteError(
            "fitting palettes needs scikit-learn: pip install 'ros_xai[bench]'"
        ) from (missing)

    data = np.asarray(proportions, dtype=np.float64)
    fits = []
    for count in range(1, min(most, len(data) // 2) + 1):
        mixture = GaussianMixture(count, reg_covar=1e-6, random_state=seed).fit(data)
        fits.append((mixture.aic(data), count, mixture))
    best = min(fits)[2]
    return PaletteModel(best.weights_, best.means_, best.covariances_)


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of Gaussians fitted to two samples [N, D].

    Of palettes: the Frechet segmentation distance (FSD), in the unit of the palettes squared. The
    root's trace is that of (S1^1/2 S2 S1^1/2)^1/2, which is symmetric even where S is singular.
    """
    a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (first, second))
    S1, S2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(np.atleast_2d(S1))
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ S2 @ root), 0)).sum()
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(max(gap @ gap + np.trace(np.atleast_2d(S1)) + np.trace(S2) - 2 * cross, 0.0))


def kl_divergence(asked: ArrayLike, achieved: ArrayLike) -> Floats:
    """KL(asked || achieved) [N] in nats of palettes [N, C]; achieved + 1e-6, renormalised."""
    p, q = (np.asarray(x, dtype=np.float64) for x in (asked, achieved))
    q = (q + 1e-6) / (q + 1e-6).sum(axis=-1, keepdims=True)
    terms = np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0)
    return np.asarray(terms.sum(axis=-1))
