"""Sky and sun of a domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.domains import Domain
from ros_xai.world.textures import INDEX, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def sun_direction(domain: Domain) -> Floats:
    """Unit vector [3] towards the sun, map frame."""
    up, around = np.deg2rad([domain.sun_elevation, domain.sun_azimuth])
    vector = [np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)]
    return np.array(vector, np.float32)


def sky(domain: Domain, directions: Floats, clouds: bool = True) -> Floats:
    """Radiance [N, 3] of the sky along unit directions [N, 3]."""
    up = np.clip(directions[:, 2:], 0, 1)
    horizon, zenith = np.float32(domain.horizon), np.float32(domain.zenith)
    colour = horizon + (zenith - horizon) * (1 - np.exp(-3.5 * up))
    if clouds and domain.clouds > 0:
        plane = directions[:, :2] / (up + 0.12) * np.float32(0.16)
        footprint = np.full(len(up), 0.004, np.float32) / (up[:, 0] + 0.12)
        kind = np.full(len(up), INDEX["clouds"], np.uint8)
        density = sample(kind, plane, footprint)[:, :1]
        cover = np.clip((density - 1.45 + domain.clouds * 0.9) * 2.2, 0, 1) * np.clip(up * 8, 0, 1)
        white = (horizon.mean() * np.float32([1.05, 1.05, 1.05]) + horizon) / 2
        colour = colour + 0.85 * cover * (white * (1.25 - 0.35 * density) - colour)
    towards = np.clip(directions @ sun_direction(domain), 0, 1)[:, None]
    glow = 0.10 * towards**8 + 0.6 * towards**200
    return np.asarray(colour + glow * np.float32(domain.sun), np.float32)
