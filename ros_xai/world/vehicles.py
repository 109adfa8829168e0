"""Cars, trucks and buses: x forward, y left, z up, origin on the ground below the centre."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.core.geometry import pose
from ros_xai.world.bodywork import (
    BARE,
    glass,
    halves,
    inset,
    lamp,
    panes,
    plate,
    pressed,
    square_lamps,
    trim,
    turn_lamp,
    wheels,
)
from ros_xai.world.mesh import CAR, Material, Mesh, concat
from ros_xai.world.shapes import box, loft

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

# x of the cabin's rear foot, roof rear, roof front, cowl over length; belt, bonnet over height
_SHAPES: dict[str, tuple[float, float, float, float, float, float]] = {
    "city": (-0.47, -0.41, 0.10, 0.31, 0.60, 0.56),
    "hatch": (-0.47, -0.37, 0.06, 0.25, 0.62, 0.55),
    "saloon": (-0.36, -0.20, 0.05, 0.21, 0.63, 0.56),
    "estate": (-0.485, -0.43, 0.05, 0.23, 0.61, 0.55),
    "suv": (-0.48, -0.42, 0.07, 0.23, 0.62, 0.58),
    "van": (-0.49, -0.475, 0.22, 0.37, 0.56, 0.50),
}
_COLOURS = np.array(
    [
        [0.36, 0.37, 0.385],
        [0.13, 0.135, 0.145],
        [0.030, 0.032, 0.036],
        [0.66, 0.66, 0.64],
        [0.42, 0.03, 0.03],
        [0.04, 0.08, 0.28],
        [0.10, 0.16, 0.22],
        [0.05, 0.14, 0.08],
        [0.35, 0.28, 0.18],
        [0.60, 0.30, 0.04],
    ]
)
_SHARES = np.array([0.24, 0.17, 0.16, 0.14, 0.09, 0.08, 0.05, 0.03, 0.02, 0.02])
_LIVERIES = {
    "truck": np.array([[0.7, 0.7, 0.68], [0.5, 0.06, 0.05], [0.06, 0.16, 0.4], [0.72, 0.6, 0.1]]),
    "bus": np.array([[0.65, 0.04, 0.03], [0.08, 0.2, 0.5], [0.75, 0.72, 0.65], [0.1, 0.35, 0.15]]),
}


def vehicle(rng: Generator, category: str, size: NDArray[np.floating]) -> Mesh:
    """A car, truck or bus of a size (length, width, height) in metres, in a random colour."""
    model = _model(category, *(round(float(v), 2) for v in size), int(rng.integers(2)))
    paint = _COLOURS[rng.choice(len(_COLOURS), p=_SHARES / _SHARES.sum())] * rng.uniform(0.75, 1.25)
    liveries = _LIVERIES.get(category, _COLOURS)
    livery = liveries[rng.integers(len(liveries))]
    colour = model.colour.copy()
    colour[model.material == Material.PAINT] = livery if category == "bus" else paint
    colour[model.material == Material.CLOTH] = livery
    return replace(model, colour=colour)


@cache
def _model(category: str, length: float, width: float, height: float, variant: int) -> Mesh:
    """Unpainted model; cars of saloon size come in two variants."""
    if category == "truck":
        return _truck(length, width, height)
    if category == "bus":
        return _bus(length, width, height)
    return _car(_shape_of(length, height, variant), length, width, height)


def _shape_of(length: float, height: float, variant: int) -> str:
    if height > 1.9:
        return "van"
    if height > 1.6:
        return "suv"
    if length < 4.0:
        return "city"
    if length < 4.5:
        return "hatch"
    return ("saloon", "estate")[variant]


def _car(shape: str, length: float, width: float, height: float) -> Mesh:
    foot, _, _, cowl, belt, bonnet = _SHAPES[shape]
    belt, bonnet = belt * height, bonnet * height
    low = 0.26 if shape == "suv" else 0.19
    x = length / 2
    profile = np.array(
        [
            (-0.985 * x, low + 0.05),
            (-x, 0.42),
            (-x, 0.60 * belt),
            (-0.975 * x, 0.93 * belt),
            (2 * foot * x, belt),
            (2 * cowl * x, belt + 0.01),
            (0.62 * x, bonnet * 1.03),
            (0.88 * x, bonnet * 0.95),
            (0.97 * x, bonnet * 0.82),
            (x, 0.45),
            (0.975 * x, low + 0.05),
            (0.8 * x, low),
            (-0.8 * x, low),
        ]
    )
    seams = (1.0, -0.17 * length, 0.04 * length, 0.235 * length, belt)
    parts = [pressed(profile, width, 0.09, seams)]
    parts += _cabin(length, width, height, belt, _SHAPES[shape])
    parts += wheels(width, 0.30 if height < 1.6 else 0.34, (-0.30 * length, 0.315 * length))
    parts += _front(length, width, bonnet, low)
    parts += _rear(length, width, belt, low)
    return concat(parts)


def _cabin(
    length: float, width: float, height: float, belt: float, shape: tuple[float, ...]
) -> list[Mesh]:
    """Roof and pillars on the belt line, and glass between them."""
    foot, rear, front, cowl = (v * length for v in shape[:4])
    low, top = 0.475 * width, 0.385 * width

    def rim(x0: float, x1: float, half: float, z: float) -> NDArray[np.float64]:
        return np.array([(x0, -half, z), (x1, -half, z), (x1, half, z), (x0, half, z)])

    bottom = rim(foot, cowl, low, belt - 0.01)
    upper = rim(rear - 0.03, front + 0.05, top + 0.03, height - 0.05)
    roof = rim(rear + 0.08, front - 0.10, top - 0.06, height)
    frame = loft([bottom, upper, roof], Material.PAINT, BARE, CAR)
    right, ahead, left, behind = (
        inset(np.stack([bottom[a], bottom[b], upper[b], upper[a]]), 0.07, 0.10, 0.08)
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))
    )
    return [frame, panes([ahead, behind, *halves(left), *halves(right)])]


def _front(length: float, width: float, bonnet: float, low: float) -> list[Mesh]:
    x, z = length / 2, 0.70 * bonnet
    parts = [
        trim((0.06, 0.50 * width, 0.16), (x - 0.015, 0, 0.62 * bonnet)),
        trim((0.08, 0.86 * width, 0.10), (x - 0.03, 0, low + 0.10)),
        plate(x + 0.022, 0.45, True),
    ]
    for side in (-1, 1):
        mirror = (0.20 * length, side * (width / 2 + 0.07), bonnet * 1.16)
        parts += [
            lamp("head", (0.24, 0.20 * width, 0.13), (x - 0.10, side * 0.365 * width, z)),
            turn_lamp(side, (0.20, 0.05, 0.10), (x - 0.11, side * 0.475 * width, z)),
            trim((0.12, 0.20, 0.13), mirror),
        ]
    return parts


def _rear(length: float, width: float, belt: float, low: float) -> list[Mesh]:
    x, z = -length / 2, 0.80 * belt
    parts = [
        trim((0.08, 0.9 * width, 0.12), (x + 0.03, 0, low + 0.10)),
        plate(x - 0.012, 0.66 * belt, False),
    ]
    for side in (-1, 1):
        y = side * 0.40 * width
        parts += [
            lamp("tail", (0.16, 0.15 * width, 0.17), (x + 0.065, y, z)),
            turn_lamp(side, (0.15, 0.12 * width, 0.06), (x + 0.065, y, z - 0.13)),
        ]
    return parts


def _truck(length: float, width: float, height: float) -> Mesh:
    nose = length / 2
    cab_length, cab_height = 1.9, min(2.5, height - 0.3)
    x_cab = nose - cab_length / 2
    load = length - cab_length - 0.15
    x_load, z_load = -length / 2 + load / 2, 1.0 + (height - 1.0) / 2
    profile = np.array(
        [
            (-0.95, 0.55),
            (-0.95, cab_height),
            (0.55, cab_height),
            (0.93, 1.45),
            (0.95, 0.5),
            (0.9, 0.4),
        ]
    )
    y = 0.42 * width
    windscreen = np.array(
        [
            (x_cab + 0.945, -y, 1.5),
            (x_cab + 0.945, y, 1.5),
            (x_cab + 0.60, y, cab_height - 0.15),
            (x_cab + 0.60, -y, cab_height - 0.15),
        ]
    )
    cargo = (load, width, height - 1.0)
    return concat(
        [
            pressed(profile, width * 0.96, 0.06).moved(pose(np.eye(3), (x_cab, 0, 0))),
            panes([windscreen]),
            box(cargo, (x_load, 0, z_load), Material.CLOTH, BARE, CAR),
            trim((length - 0.3, 0.9, 0.25), (-0.1, 0, 0.72)),
            trim((0.1, 0.95 * width, 0.12), (-length / 2 + 0.04, 0, 0.55)),
            trim((0.08, 0.8 * width, 0.3), (nose - 0.02, 0, 0.75)),
            plate(-length / 2 - 0.012, 0.80, False),
            *(glass((0.8, 0.02, 0.6), (x_cab + 0.2, s * 0.485 * width, 1.75)) for s in (-1, 1)),
            *wheels(width, 0.45, (-0.30 * length, nose - 0.95)),
            *square_lamps(length, width, 0.62),
        ]
    )


def _bus(length: float, width: float, height: float) -> Mesh:
    x = length / 2
    profile = np.array(
        [
            (-x, 0.32),
            (-x, height - 0.1),
            (-0.97 * x, height),
            (0.96 * x, height),
            (0.995 * x, height - 0.3),
            (x, 1.0),
            (x, 0.32),
        ]
    )
    count = max(4, round(length / 1.5))
    pitch = 0.94 * length / count
    windows = (-0.47 * length + (np.arange(count) + 0.5) * pitch).tolist()
    return concat(
        [
            pressed(profile, width, 0.05),
            *(glass((pitch * 0.9, width + 0.012, 0.95), (at, 0, 1.85)) for at in windows),
            glass((0.04, 0.88 * width, 1.25), (x, 0, 1.75)),
            glass((0.04, 0.80 * width, 0.8), (-x, 0, 2.0)),
            lamp("head", (0.03, 0.7 * width, 0.28), (x + 0.005, 0, height - 0.28)),
            plate(-x - 0.012, 0.75, False),
            *wheels(width, 0.47, (-0.28 * length, 0.33 * length)),
            *square_lamps(length, width, 0.75),
        ]
    )
