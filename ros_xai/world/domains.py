"""Visual domains as data: weather, time of day and camera response on one and the same world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Response:
    """Camera response. noise: deviation at mid grey; blur in pixels at 640; key: mean aimed at."""

    white_balance: Colour = (1.0, 1.0, 1.0)
    gamma: float = 2.2
    saturation: float = 1.0
    key: float = 0.19
    noise: float = 0.010
    blur: float = 0.4
    vignetting: float = 0.15
    bloom: float = 0.03


@dataclass(frozen=True)
class Domain:
    """One visual domain; linear radiances relative to a white wall under the noon sky."""

    name: str = "clear"
    sun_elevation: float = 48.0  # degrees
    sun_azimuth: float = 35.0  # degrees, counter-clockwise from the map's x axis
    sun: Colour = (2.7, 2.5, 2.2)
    zenith: Colour = (0.42, 0.68, 1.15)
    horizon: Colour = (1.25, 1.35, 1.45)
    clouds: float = 0.35
    dark: float = 0.0  # 0 day, 1 night: lamps and lit windows
    fog: float = 0.0006  # extinction per metre
    wet: float = 0.0
    rain: float = 0.0  # share of pixels under a streak
    response: Response = field(default_factory=Response)


_CAMERA_B = Response(
    white_balance=(1.10, 1.0, 0.82),
    gamma=1.9,
    saturation=0.72,
    key=0.17,
    noise=0.022,
    blur=0.8,
    vignetting=0.4,
)

DOMAINS: dict[str, Domain] = {
    "clear": Domain(),
    "overcast": Domain(
        name="overcast",
        sun=(0.12, 0.12, 0.12),
        zenith=(1.05, 1.10, 1.16),
        horizon=(1.35, 1.38, 1.42),
        clouds=0.6,
        fog=0.0012,
        response=Response(saturation=0.9),
    ),
    "dusk": Domain(
        name="dusk",
        sun_elevation=6.0,
        sun_azimuth=20.0,
        sun=(0.45, 0.20, 0.07),
        zenith=(0.09, 0.12, 0.24),
        horizon=(0.50, 0.30, 0.20),
        clouds=0.6,
        dark=0.55,
        fog=0.0015,
        response=Response(key=0.16, noise=0.018),
    ),
    "night": Domain(
        name="night",
        sun_elevation=35.0,
        sun=(0.004, 0.005, 0.008),
        zenith=(0.003, 0.004, 0.009),
        horizon=(0.012, 0.011, 0.013),
        clouds=0.2,
        dark=1.0,
        fog=0.001,
        response=Response(key=0.10, noise=0.03, bloom=0.10),
    ),
    "fog": Domain(
        name="fog",
        sun=(0.15, 0.15, 0.15),
        zenith=(0.75, 0.77, 0.80),
        horizon=(0.78, 0.80, 0.82),
        clouds=0.0,
        fog=0.030,
        response=Response(saturation=0.85, key=0.3),
    ),
    "rain": Domain(
        name="rain",
        sun=(0.06, 0.06, 0.06),
        zenith=(0.52, 0.56, 0.63),
        horizon=(0.80, 0.84, 0.90),
        clouds=0.9,
        dark=0.25,
        fog=0.006,
        wet=1.0,
        rain=0.03,
        response=Response(saturation=0.9, blur=0.7, noise=0.016, key=0.16),
    ),
    "camera_b": replace(Domain(), name="camera_b", response=_CAMERA_B),
}


def varied(base: Domain, rng: Generator) -> Domain:
    """The domain on another day: sun, clouds and the camera's tuning moved a little."""
    response = replace(
        base.response,
        white_balance=tuple(float(w) for w in base.response.white_balance * rng.normal(1, 0.03, 3)),
        gamma=base.response.gamma * float(rng.uniform(0.92, 1.08)),
        key=base.response.key * float(rng.uniform(0.75, 1.3)),
        saturation=base.response.saturation * float(rng.uniform(0.75, 1.1)),
    )
    return replace(
        base,
        sun_elevation=base.sun_elevation * float(rng.uniform(0.5, 1.2)),
        sun_azimuth=float(rng.uniform(0, 360)),
        clouds=base.clouds * float(rng.uniform(0.2, 1.8)),
        response=response,
    )


def domain(name: str) -> Domain:
    """A preset by its name.

    Raises:
        ValueError: no such preset.
    """
    if name not in DOMAINS:
        raise ValueError(f"expected a domain of {sorted(DOMAINS)}, got {name!r}")
    return DOMAINS[name]
