"""What an explainer answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.explanation.masks import upsampler

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """Importance of the cells of an input for one target, or for T of them.

    values: [(T,) gh, gw], the more the more important; a pixel-wise method has as many cells as
    pixels. shape: (H, W) of the input. forwards: evaluations of the network it took.
    standard_error: of `values` where the method knows it. slope: the mean change of the score from
    hiding to keeping each cell, for Sobol. first: first-order Sobol indices where they were asked
    for. constant: [(T,)] true where the output did not react at all. smooth: whether the heatmap is
    a B-spline over the cells, which settles after fewer forwards, or goes through `values`.
    by_slope: whether `values` have the signs of `slope`.
    """

    method: str
    values: Array
    shape: tuple[int, int]
    forwards: int
    standard_error: Array | None = None
    slope: Array | None = None
    first: Array | None = None
    constant: NDArray[np.bool_] | bool = False
    smooth: bool = False
    by_slope: bool = False

    def __getitem__(self, target: int) -> Attribution:
        """The attribution of one of several targets."""
        if self.values.ndim != 3:
            raise IndexError("this attribution is of a single target")
        known = {
            name: cells[target]
            for name in ("standard_error", "slope", "first")
            if (cells := getattr(self, name)) is not None
        }
        constant = bool(np.broadcast_to(self.constant, len(self.values))[target])
        return replace(self, values=self.values[target], constant=constant, **known)

    def signed(self) -> Attribution:
        """Sobol indices with the sign of the slope: negative where a cell speaks against the score.

        An index alone does not tell evidence for a class from evidence against it. Fel et al.
        spend further forwards on the sign; here it comes from the same ones.
        """
        if self.slope is None:
            raise ValueError(f"a {self.method} attribution has no slope to take signs from")
        return replace(self, values=self.values * np.sign(self.slope), by_slope=True)

    def heatmap(self) -> NDArray[np.float32]:
        """`values` of one target at every pixel of the input: float32 [H, W], signed.

        Cubic interpolation, or where they are `smooth` a cubic B-spline: single cells are noisy
        long after their surroundings are known. Signs are then those of the smooth slope.
        """
        if self.values.ndim != 2:
            shape = list(self.values.shape)
            raise ValueError(f"expected the cells of one target, attribution[k]; got {shape}")
        values = self.values.astype(np.float32)
        if values.shape == self.shape:
            return values
        if self.smooth:
            return self._spline()
        height, width = self.shape
        enlarged = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(enlarged, dtype=np.float32)

    def _spline(self) -> NDArray[np.float32]:
        rows, columns = self.values.shape
        enlarge = upsampler((rows, columns), self.shape, "spline")
        if not self.by_slope or self.slope is None:
            return enlarge(self.values[None])[0]
        indices = self.values * np.sign(self.slope)
        heat, slope = enlarge(np.stack([indices, self.slope]))
        return heat * np.sign(slope)

    def top(self, count: int = 5) -> list[tuple[int, int]]:
        """(row, column) of the most important cells of one target, the first one first."""
        order = np.argsort(-self.values, axis=None, kind="stable")[:count]
        columns = self.values.shape[-1]
        return [divmod(int(cell), columns) for cell in order]


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
