"""What an explainer answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from ros_xai.explanation.masks import upsampler

Array = NDArray[np.float64]
Drawing = Literal["bilinear", "bicubic", "spline"]

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Attribution:
    """Importance of the cells of an input for one target, or for T of them.

    values: [(T,) gh, gw], the more the more important; a pixel-wise method has as many cells as
    pixels. shape: (H, W) of the input. forwards: evaluations of the network it took.
    standard_error: of `values`, or of the indices that effects (`signed`) are made from, where the
    method knows it. slope, slope_error: the mean change of the score from hiding to keeping each
    cell, for Sobol, and its standard error. first: first-order Sobol indices where they were asked
    for. constant: [(T,)] true where the output did not react at all. drawing: how a heatmap is made
    of cells.
    """

    method: str
    values: Array
    shape: tuple[int, int]
    forwards: int
    standard_error: Array | None = None
    slope: Array | None = None
    slope_error: Array | None = None
    first: Array | None = None
    constant: NDArray[np.bool_] | bool = False
    drawing: Drawing = "bilinear"

    def __getitem__(self, target: int) -> Attribution:
        """The attribution of one of several targets."""
        if self.values.ndim != 3:
            raise IndexError("this attribution is of a single target")
        known = {
            name: cells[target]
            for name in ("standard_error", "slope", "slope_error", "first")
            if (cells := getattr(self, name)) is not None
        }
        constant = bool(np.broadcast_to(self.constant, len(self.values))[target])
        return replace(self, values=self.values[target], constant=constant, **known)

    def signed(self) -> Attribution:
        """Effects of the cells [-1, 1]: the root of each Sobol index, by how surely the cell speaks
        for the score (1) or against it (-1).

        An index is of a square: it does not tell evidence for a class from evidence against it, and
        the strongest cells dwarf the others. Fel et al. spend further forwards on the sign; here it
        is the mean sign of the slope, normal about its estimate, from the same ones.
        """
        if self.slope is None or self.slope_error is None:
            raise ValueError(f"a {self.method} attribution has no slope to take signs from")
        with np.errstate(over="ignore"):  # an exact slope is infinitely sure
            sureness = erf(self.slope / np.maximum(np.sqrt(2) * self.slope_error, _TINY))
        effects = np.sqrt(self.values.clip(0)) * sureness
        return replace(self, values=effects)

    def heatmap(self) -> NDArray[np.float32]:
        """`values` of one target at every pixel of the input: float32 [H, W], signed.

        `drawing`: "bilinear", with the tents that a cell of a mask is; "bicubic", as Fel et al.; or
        "spline", the cubic B-spline with the cells as control points, which drowns single cells:
        they are noisy long after their surroundings are known.
        """
        if self.values.ndim != 2:
            shape = list(self.values.shape)
            raise ValueError(f"expected the cells of one target, attribution[k]; got {shape}")
        values = self.values.astype(np.float32)
        if values.shape == self.shape:
            return values
        if self.drawing == "bicubic":
            height, width = self.shape
            enlarged = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
            return np.asarray(enlarged, dtype=np.float32)
        rows, columns = values.shape
        return upsampler((rows, columns), self.shape, self.drawing)(values[None])[0]

    def top(self, count: int = 5) -> list[tuple[int, int]]:
        """(row, column) of the most important cells of one target, the first one first."""
        order = np.argsort(-self.values, axis=None, kind="stable")[:count]
        columns = self.values.shape[-1]
        return [divmod(int(cell), columns) for cell in order]

    def settled(self, top: int = 8, tolerance: float = 0.1) -> bool:
        """Whether more forwards would hardly move any cell: none is `unsettled`.

        Ask before `signed`, whose errors are still those of the indices.
        """
        if self.standard_error is None:
            raise ValueError(f"a {self.method} attribution does not know its standard error")
        targets = self.values.shape[0] if self.values.ndim == 3 else 1
        cells, errors = (x.reshape(targets, -1) for x in (self.values, self.standard_error))
        return not unsettled(cells, errors, top, tolerance).any()


def unsettled(values: Array, errors: Array, top: int, tolerance: float) -> NDArray[np.bool_]:
    """Cells [T, d] that are neither known well nor clearly among the `top` cells, or clearly not.

    values, errors: [T, d] and their standard errors. Twice the error of an unsettled cell is above
    `tolerance` of the largest value, and above the distance from the boundary of the top cells.
    """
    margin = 2 * errors
    ordered = -np.sort(-values, axis=-1)
    top = min(top, values.shape[-1] - 1)
    boundary = (ordered[:, max(top - 1, 0), None] + ordered[:, top, None]) / 2
    vague = margin > tolerance * ordered[:, :1]
    return np.asarray(vague & (np.abs(values - boundary) <= margin))


def overlay(
    image: NDArray[np.uint8], heatmap: NDArray[np.floating], strength: float = 0.55
) -> NDArray[np.uint8]:
    """An rgb image [H, W, 3] with a heatmap [H, W] over it; negative values are shown as none.

    Colour is by the heatmap's own maximum, and fades out where there is no importance, so that the
    scene stays visible. The heatmap is resized to the image.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(heatmap.astype(np.float32), (width, height)).clip(0)
    peak = float(heat.max())
    if peak <= 0:
        return image.copy()
    heat /= peak
    colour = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = (strength * np.sqrt(heat))[..., None]
    return (image * (1 - weight) + colour * weight).round().astype(np.uint8)
