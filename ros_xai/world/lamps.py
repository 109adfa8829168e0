"""Light of street lamps and of the ego's headlights, and the glow of lamps that are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_LAMP = 5.0  # radiance of a lamp at full power
_STREET_LAMP = np.array([1.0, 0.72, 0.42], np.float32) * 26.0
_HEADLIGHT = np.array([1.0, 0.93, 0.80], np.float32) * 120.0
_LAMPS_REACH = 30.0  # metres
_BELOW_CAMERA = np.float32(0.9)  # metres from the camera down to the headlights
_DIP = np.float32(0.045)  # tangent of the beam's angle below the horizon


def street_light(lamps: Floats, place: Floats, normal: Floats) -> Floats:
    """Irradiance [N, 3] at points with unit normals [N, 3] below lamps [L, 3] (cosine lobes)."""
    result = np.zeros_like(place)
    for lamp in lamps:
        offset = lamp - place
        square = np.einsum("nk,nk->n", offset, offset)
        near = np.flatnonzero(square < _LAMPS_REACH**2)
        way = offset[near] / np.sqrt(square[near])[:, None]
        lobe = np.clip(way[:, 2], 0, 1) * np.clip((way * normal[near]).sum(1), 0, 1)
        result[near] += (lobe / (square[near] + 1.0))[:, None] * _STREET_LAMP
    return result


def head_light(T_world_camera: Floats, place: Floats, normal: Floats) -> Floats:
    """Irradiance [N, 3] from dipped headlights below the camera: wide, and cut off above."""
    right, down, forward = T_world_camera[:3, :3].T
    offset = place - (T_world_camera[:3, 3] + _BELOW_CAMERA * down)
    square = np.einsum("nk,nk->n", offset, offset)
    way = offset / np.sqrt(square)[:, None]
    across, below = way @ right, way @ down - _DIP
    beam = np.exp(-((across / 0.30) ** 2) - (below / 0.10) ** 2) * (way @ forward > 0)
    lobe = beam * np.clip(-(way * normal).sum(1), 0, 1) / (square + 25.0)
    return np.asarray(lobe[:, None] * _HEADLIGHT, np.float32)


def glow(colour: Floats, power: Floats) -> Floats:
    """Radiance [N, 3] of lamps of a colour at a power in [0, 1]."""
    hue = colour / np.maximum(colour.max(axis=1, keepdims=True), 1e-3)
    return np.asarray(hue * (power * np.float32(_LAMP))[:, None], np.float32)
