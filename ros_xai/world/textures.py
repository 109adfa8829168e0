"""Tileable textures with mip levels, and box-filtered patterns: detail fades with the pixel's size.

Filtering is what keeps two views of one surface photometrically consistent.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SIZE = 256  # texels along a tile
_LEVELS = int(np.log2(SIZE)) + 1

# name: metres covered by one tile
TILES: dict[str, float] = {
    "asphalt": 4.0,
    "pavers": 3.0,
    "brick": 2.0,
    "plaster": 5.0,
    "grass": 3.0,
    "leaf": 2.5,
    "bark": 1.2,
    "roof": 2.4,
    "cloth": 1.5,
    "clouds": 1.0,
    "stain": 23.0,
}
INDEX = {name: k for k, name in enumerate(TILES)}
NONE = 255  # stands for no texture
_METRES = np.array(list(TILES.values()), np.float32)


def _noise(rng: Generator, low: float, high: float, slope: float) -> Floats:
    """Periodic noise [S, S] of zero mean and unit deviation between two frequencies per tile."""
    f = np.fft.fftfreq(SIZE, 1 / SIZE)
    radius = np.hypot(f[:, None], f[None])
    gain = np.where((radius >= low) & (radius <= high), np.maximum(radius, 1) ** -slope, 0)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) * gain).real
    result: Floats = (field / field.std()).astype(np.float32)
    return result


def _joints(rows: int, columns: int, width: float, bond: bool) -> tuple[Floats, NDArray[np.int64]]:
    """Share of stone (0 in the joints) and the number of the stone at each texel."""
    y, x = np.meshgrid(
        np.arange(SIZE) / SIZE * rows, np.arange(SIZE) / SIZE * columns, indexing="ij"
    )
    row = np.floor(y).astype(int)
    x = x + 0.5 * (row % 2) * bond
    column = np.floor(x).astype(int) % columns
    across, up = x % 1 * SIZE / columns, y % 1 * SIZE / rows
    stone = (across >= width) & (up >= width)
    return stone.astype(np.float32), row * columns + column


def _masonry(
    rng: Generator, rows: int, columns: int, joint: float, bond: bool, spread: float, mortar: float
) -> Floats:
    stone, number = _joints(rows, columns, joint, bond)
    shade = 1 + rng.normal(0, spread, rows * columns)[number].astype(np.float32)
    grain = 1 + 0.06 * _noise(rng, 4, 100, 0.4)
    result: Floats = np.where(stone > 0, shade, mortar) * grain
    return result


@cache
def pyramid() -> tuple[Floats, ...]:
    """Levels [K, S, S, 3] of all textures, mean 1, from full size down to one texel."""
    rng = np.random.default_rng(20261)
    one: dict[str, Floats] = {
        "asphalt": 1 + 0.10 * _noise(rng, 20, 128, 0.1) + 0.07 * _noise(rng, 1, 12, 0.8),
        "pavers": _masonry(rng, 6, 4, 2.2, True, 0.08, 0.6),
        "brick": _masonry(rng, 26, 9, 1.8, True, 0.13, 1.35),
        "plaster": 1 + 0.05 * _noise(rng, 1, 30, 1.0) + 0.02 * _noise(rng, 40, 128, 0.0),
        "grass": 1 + 0.22 * _noise(rng, 12, 128, 0.3) + 0.15 * _noise(rng, 1, 10, 0.6),
        "leaf": 1 + 0.30 * _noise(rng, 5, 60, 0.6),
        "bark": 1 + 0.25 * _noise(rng, 2, 80, 0.7),
        "roof": _masonry(rng, 10, 8, 3.0, True, 0.10, 0.55),
        "cloth": 1 + 0.08 * _noise(rng, 2, 20, 1.0),
        "clouds": 1 + 0.35 * _noise(rng, 1, 60, 1.7),
        "stain": 1 + 0.10 * _noise(rng, 1, 40, 1.3),
    }
    base = np.stack([np.repeat(one[name][..., None], 3, axis=2) for name in TILES])
    for name in ("grass", "leaf", "stain"):
        hue = _noise(rng, 1, 25, 0.8)
        amount = 0.03 if name == "stain" else 0.10
        base[INDEX[name]] *= 1 + hue[..., None] * np.array([amount, 0.2 * amount, -amount])
    base = np.clip(base, 0.02, None).astype(np.float32)
    base /= base.mean(axis=(1, 2), keepdims=True)
    levels = [base]
    for _ in range(_LEVELS - 1):
        fine = levels[-1]
        half = fine.shape[1] // 2
        levels.append(fine.reshape(len(TILES), half, 2, half, 2, 3).mean(axis=(2, 4)))
    return tuple(levels)


def sample(texture: NDArray[np.uint8], uv: Floats, footprint: Floats) -> Floats:
    """Texture values [N, 3] at uv [N, 2] metres, averaged over about ``footprint`` [N] metres.

    texture [N]: numbers of ``INDEX``, or ``NONE`` (gives 1).
    """
    result = np.ones((len(uv), 3), np.float32)
    textured = np.flatnonzero(texture != NONE)
    kind = texture[textured].astype(np.int32)
    texels = footprint[textured] * (SIZE / _METRES[kind])
    level = np.clip(np.round(np.log2(np.maximum(texels, 1e-6))), 0, _LEVELS - 1).astype(np.int32)
    key = kind * _LEVELS + level
    order = np.argsort(key, kind="stable")
    borders = np.flatnonzero(np.diff(key[order])) + 1
    for group in np.split(order, borders):
        if len(group):
            number, fineness = divmod(int(key[group[0]]), _LEVELS)
            chosen = textured[group]
            image = pyramid()[fineness][number]
            result[chosen] = _bilinear(image, uv[chosen] / _METRES[number])
    return result


def _bilinear(image: Floats, tiles: Floats) -> Floats:
    """Periodic bilinear lookup [N, C] of an image [S, S, C] at coordinates in tiles [N, 2]."""
    size = len(image)
    padded = cv2.copyMakeBorder(image, 0, 1, 0, 1, cv2.BORDER_WRAP)
    place = (tiles - np.floor(tiles)) * size
    return interpolate(padded, np.minimum(place, size - 1e-3))


def interpolate(image: Floats, places: Floats) -> Floats:
    """Bilinear values [N, C] (or [N]) of an image at pixels (x, y) [N, 2]; 0 outside."""
    width = 256  # OpenCV's maps are limited to 32767 rows and columns
    rows = -(-max(len(places), 1) // width)
    grid = np.full((rows * width, 2), -2, np.float32)
    grid[: len(places)] = places
    grid = grid.reshape(rows, width, 2)
    looked = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR)
    flat: Floats = looked.reshape(rows * width, *image.shape[2:])[: len(places)]
    return flat


def coverage(x: Floats, low: Floats | float, high: Floats | float, footprint: Floats) -> Floats:
    """Share of the interval x +- footprint/2 that lies between low and high."""
    half = np.maximum(footprint, 1e-5) / 2
    inside = np.minimum(x + half, high) - np.maximum(x - half, low)
    result: Floats = np.clip(inside / (2 * half), 0, 1)
    return result


def periodic(x: Floats, period: Floats | float, on: Floats | float, footprint: Floats) -> Floats:
    """Share of x +- footprint/2 that lies in [k period, k period + on] for any whole k."""
    half = np.maximum(footprint, 1e-5) / 2
    result: Floats = (_filled(x + half, period, on) - _filled(x - half, period, on)) / (2 * half)
    return result


def _filled(x: Floats, period: Floats | float, on: Floats | float) -> Floats:
    whole = np.floor(x / period)
    filled: Floats = whole * on + np.minimum(x - whole * period, on)
    return filled


def scatter(*keys: Floats) -> Floats:
    """Reproducible numbers in [0, 1) from whole-number keys [N]."""
    state = np.full(np.broadcast_shapes(*(np.shape(k) for k in keys)), 0x9E3779B9, np.uint32)
    for key in keys:
        state ^= np.floor(np.asarray(key, np.float64)).astype(np.int64).astype(np.uint32)
        state *= np.uint32(0x85EBCA6B)
        state ^= state >> np.uint32(13)
        state *= np.uint32(0xC2B2AE35)
        state ^= state >> np.uint32(16)
    result: Floats = (state >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
    return result
