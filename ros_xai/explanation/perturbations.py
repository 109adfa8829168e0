"""Perturbation operators: what a mask in [0, 1] does to an input.

An operator called with an input and a grid gives the function from cell masks [n, *grid] to n
perturbed inputs; what depends on the input alone is computed once. Images are float32 [C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.explanation.masks import Array, Interpolation, upsampler

Baseline = Callable[[Array], Array]
Perturb = Callable[[NDArray[np.floating]], Array]


class Perturbation(Protocol):
    """An operator of this module, or one like it."""

    def __call__(self, inputs: Array, grid: tuple[int, int]) -> Perturb:
        """The function from masks [n, *grid], 1 = kept, to perturbed inputs [n, *inputs.shape]."""


def zero(image: Array) -> Array:
    """All 0: black, or mean grey for a network whose input is normalised."""
    return np.zeros_like(image)


def mean_colour(image: Array) -> Array:
    """The image's own mean in each channel."""
    return np.broadcast_to(image.mean((1, 2), keepdims=True), image.shape).astype(np.float32)


@dataclass(frozen=True)
class BoxBlur:
    """The image averaged over squares of `width` pixels."""

    width: int = 10

    def __call__(self, image: Array) -> Array:
        return np.stack([cv2.blur(channel, (self.width, self.width)) for channel in image])


@dataclass(frozen=True)
class Blend:
    """x m + (1 - m) x0: the paper's inpainting with x0 = `zero`, its blurring with `BoxBlur`."""

    baseline: Baseline = zero
    interpolation: Interpolation = "bilinear"

    def __call__(self, inputs: Array, grid: tuple[int, int]) -> Perturb:
        upsample = upsampler(grid, _size(inputs), self.interpolation)
        background = self.baseline(inputs)
        detail = inputs - background

        def perturb(masks: NDArray[np.floating]) -> Array:
            mixed = detail * upsample(masks)[:, None]
            mixed += background
            return mixed

        return perturb


@dataclass(frozen=True)
class Amplitude:
    """x (m - 0.5) sigma: the authors' public code."""

    sigma: float = 1.0
    interpolation: Interpolation = "bilinear"

    def __call__(self, inputs: Array, grid: tuple[int, int]) -> Perturb:
        upsample = upsampler(grid, _size(inputs), self.interpolation)
        scaled = inputs * np.float32(self.sigma)
        return lambda masks: scaled * (upsample(masks) - np.float32(0.5))[:, None]


@dataclass(frozen=True)
class Shift:
    """x + (m - 0.5) sigma: what the text beside the authors' amplitude code says it does."""

    sigma: float = 1.0
    interpolation: Interpolation = "bilinear"

    def __call__(self, inputs: Array, grid: tuple[int, int]) -> Perturb:
        upsample = upsampler(grid, _size(inputs), self.interpolation)
        sigma = np.float32(self.sigma)
        return lambda masks: inputs + ((upsample(masks) - np.float32(0.5)) * sigma)[:, None]


@dataclass(frozen=True)
class Thin:
    """Keeps about the share m of what is there, for inputs of which a part would be a fiction.

    Half a LiDAR return at 20 m is not a return at 10 m: a sparse depth image, or the cells of a
    map, are kept or dropped whole, by a fixed threshold in [0, 1) for each pixel.
    """

    seed: int = 0
    interpolation: Interpolation = "nearest"

    def __call__(self, inputs: Array, grid: tuple[int, int]) -> Perturb:
        shape = _size(inputs)
        upsample = upsampler(grid, shape, self.interpolation)
        threshold = np.random.default_rng(self.seed).random(shape, dtype=np.float32)
        nothing = np.zeros((), inputs.dtype)
        return lambda masks: np.where((upsample(masks) > threshold)[:, None], inputs, nothing)


@dataclass(frozen=True)
class Presence:
    """Keeps item k of a list [K, ...] where its mask exceeds 0.5, else puts `absent` in its place.

    For the neighbours of a forecast: the grid is (K, 1).
    """

    absent: float = 0.0

    def __call__(self, inputs: Array, grid: tuple[int, int]) -> Perturb:
        if grid != (len(inputs), 1):
            raise ValueError(f"expected the grid ({len(inputs)}, 1) of the items; got {grid}")
        item = (-1, len(inputs)) + (1,) * (inputs.ndim - 1)
        absent = np.asarray(self.absent, inputs.dtype)
        return lambda masks: np.where(masks.reshape(item) > 0.5, inputs, absent)


def _size(inputs: Array) -> tuple[int, int]:
    if inputs.ndim != 3:
        raise ValueError(f"expected an image [C, H, W]; got {list(inputs.shape)}")
    return inputs.shape[1], inputs.shape[2]
