"""Vehicle models: x forward, y left, z up, origin on the ground below the centre.

Lamps of every vehicle are numbered by ``LAMPS``; their power comes from the traffic.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import CAR, Material, Mesh, concat, quads
from ros_xai.world.shapes import box, loft, tube

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

LAMPS = ("head", "tail", "left", "right")

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
_DARK = (0.015, 0.015, 0.017)
_BARE = (0.5, 0.5, 0.5)
_GLASS = (0.02, 0.025, 0.03)


_LIVERIES = {
    "truck": np.array([[0.7, 0.7, 0.68], [0.5, 0.06, 0.05], [0.06, 0.16, 0.4], [0.72, 0.6, 0.1]]),
    "bus": np.array([[0.65, 0.04, 0.03], [0.08, 0.2, 0.5], [0.75, 0.72, 0.65], [0.1, 0.35, 0.15]]),
}


def vehicle(rng: Generator, category: str, size: NDArray[np.floating]) -> Mesh:
    """A car, truck or bus of a size (length, width, height) in metres, in a random colour."""
    model = _model(category, *(round(float(v), 2) for v in size), int(rng.integers(2)))
    paint = _COLOURS[rng.choice(len(_COLOURS), p=_SHARES / _SHARES.sum())] * rng.uniform(0.75, 1.25)
    colour = model.colour.copy()
    livery = _LIVERIES.get(category, _COLOURS)
    livery_colour = livery[rng.integers(len(livery))]
    colour[model.material == Material.PAINT] = livery_colour if category == "bus" else paint
    colour[model.material == Material.CLOTH] = livery_colour
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
    low = 0.19 if shape != "suv" else 0.26
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
    parts = [_extruded(profile, width, 0.09, seams)]
    parts += _cabin(length, width, height, belt, _SHAPES[shape])
    radius = 0.30 if height < 1.6 else 0.34
    parts += _wheels(width, radius, (-0.30 * length, 0.315 * length))
    parts += _front(length, width, bonnet, low)
    parts += _rear(length, width, belt, low)
    return concat(parts)


def _extruded(
    profile: NDArray[np.float64], width: float, bevel: float, seams: tuple[float, ...] = ()
) -> Mesh:
    """Side profile [P, 2] (x, z) swept across the width, its outer edges rounded."""
    centre = profile.mean(axis=0)
    extent = np.ptp(profile, axis=0)
    sections = []
    for y, inset in (
        (-0.5, 1.0),
        (-0.5 + 0.04, 0.35),
        (-0.5 + 0.12, 0.0),
        (0.5 - 0.12, 0.0),
        (0.5 - 0.04, 0.35),
        (0.5, 1.0),
    ):
        scale = 1 - inset * bevel / (extent / 2)
        xz = centre + (profile - centre) * np.maximum(scale, 0.8)
        sections.append(np.column_stack([xz[:, 0], np.full(len(xz), y * width), xz[:, 1]]))
    return loft(sections, Material.PAINT, _BARE, CAR, seams)


def _cabin(
    length: float,
    width: float,
    height: float,
    belt: float,
    shape: tuple[float, ...],
) -> list[Mesh]:
    """Roof, pillars and glass on the belt line."""
    foot, rear, front, cowl = (v * length for v in shape[:4])
    low, top = 0.475 * width, 0.385 * width
    z = belt - 0.01

    def rim(x0: float, x1: float, half: float, height_: float) -> NDArray[np.float64]:
        return np.array(
            [(x0, -half, height_), (x1, -half, height_), (x1, half, height_), (x0, half, height_)]
        )

    shoulder = height - 0.05
    frame = loft(
        [
            rim(foot, cowl, low, z),
            rim(rear - 0.03, front + 0.05, top + 0.03, shoulder),
            rim(rear + 0.08, front - 0.10, top - 0.06, height),
        ],
        Material.PAINT,
        _BARE,
        CAR,
    )
    bottom, upper = rim(foot, cowl, low, z), rim(rear - 0.03, front + 0.05, top + 0.03, shoulder)
    faces = []
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
        faces.append(_inset(bottom[a], bottom[b], upper[b], upper[a], 0.07, 0.10, 0.08))
    # side windows are split by a pillar
    left, right = _split(faces[2]), _split(faces[0])
    glass = [faces[1], faces[3], *left, *right]
    uv = np.zeros((len(glass), 4, 2))
    return [frame, quads(np.stack(glass), uv, Material.GLASS, _GLASS, CAR)]


def _inset(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    d: NDArray[np.float64],
    side: float,
    low: float,
    high: float,
) -> NDArray[np.float64]:
    """The quad a b c d shrunk by shares of its sides and lifted 6 mm off its plane."""
    normal = np.cross(b - a, d - a)
    normal *= 0.006 / np.linalg.norm(normal)

    def at(u: float, v: float) -> NDArray[np.float64]:
        point: NDArray[np.float64] = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)
        return point + normal

    return np.stack([at(side, low), at(1 - side, low), at(1 - side, 1 - high), at(side, 1 - high)])


def _split(quad: NDArray[np.float64], gap: float = 0.035) -> list[NDArray[np.float64]]:
    a, b, c, d = quad
    m0, m1 = (a + b) / 2, (c + d) / 2
    g0, g1 = (b - a) * gap, (c - d) * gap
    return [np.stack([a, m0 - g0, m1 - g1, d]), np.stack([m0 + g0, b, c, m1 + g1])]


def _wheels(width: float, radius: float, axles: tuple[float, ...]) -> list[Mesh]:
    parts = []
    for x in axles:
        for side in (-1, 1):
            y = side * (width / 2 - 0.10)
            outer = side * (width / 2 + 0.012)
            parts.append(
                tube(
                    (x, y, radius),
                    (x, side * (width / 2 + 0.005), radius),
                    radius * 1.13,
                    Material.PLAIN,
                    (0.006,) * 3,
                    CAR,
                    sides=14,
                )
            )
            parts.append(
                tube(
                    (x, y, radius),
                    (x, outer, radius),
                    radius,
                    Material.TYRE,
                    (0.02,) * 3,
                    CAR,
                    sides=14,
                )
            )
            parts.append(
                tube(
                    (x, y, radius),
                    (x, outer + side * 0.008, radius),
                    radius * 0.62,
                    Material.METAL,
                    (0.38, 0.38, 0.40),
                    CAR,
                    sides=10,
                )
            )
    return parts


def _facing(
    x: float, y: float, z: float, width: float, height: float, forward: bool
) -> NDArray[np.float64]:
    """Quad in a plane x = const, seen from ahead or from behind."""
    s = 1 if forward else -1
    w, h = s * width / 2, height / 2
    return np.array([[(x, y - w, z - h), (x, y + w, z - h), (x, y + w, z + h), (x, y - w, z + h)]])


def _badge(
    points: NDArray[np.float64], material: Material, colour: tuple[float, ...], lamp: int = -1
) -> Mesh:
    w = np.linalg.norm(points[0, 1] - points[0, 0])
    h = np.linalg.norm(points[0, 3] - points[0, 0])
    uv = [[[0, 0], [w, 0], [w, h], [0, h]]]
    return quads(points, uv, material, colour, CAR, (w, h), lamp)


def _front(length: float, width: float, bonnet: float, low: float) -> list[Mesh]:
    x = length / 2
    parts = [
        box((0.06, 0.50 * width, 0.16), (x - 0.015, 0, 0.62 * bonnet), Material.PLAIN, _DARK, CAR),
        box((0.08, 0.86 * width, 0.10), (x - 0.03, 0, low + 0.10), Material.PLAIN, _DARK, CAR),
        _badge(_facing(x + 0.022, 0, 0.45, 0.50, 0.12, True), Material.PLATE, (0.75,) * 3),
    ]
    for side in (-1, 1):
        y, z = side * 0.365 * width, 0.70 * bonnet
        parts.append(
            box(
                (0.24, 0.20 * width, 0.13),
                (x - 0.10, y, z),
                Material.LAMP,
                (0.75, 0.75, 0.72),
                CAR,
                lamp=0,
            )
        )
        turn = 2 if side > 0 else 3
        parts.append(
            box(
                (0.20, 0.05, 0.10),
                (x - 0.11, side * 0.475 * width, z),
                Material.LAMP,
                (0.7, 0.28, 0.04),
                CAR,
                lamp=turn,
            )
        )
        parts.append(
            box(
                (0.12, 0.20, 0.13),
                (0.20 * length, side * (width / 2 + 0.07), bonnet * 1.16),
                Material.PLAIN,
                _DARK,
                CAR,
            )
        )
    return parts


def _rear(length: float, width: float, belt: float, low: float) -> list[Mesh]:
    x = -length / 2
    parts = [
        box((0.08, 0.9 * width, 0.12), (x + 0.03, 0, low + 0.10), Material.PLAIN, _DARK, CAR),
        _badge(_facing(x - 0.012, 0, 0.66 * belt, 0.52, 0.12, False), Material.PLATE, (0.75,) * 3),
    ]
    for side in (-1, 1):
        y, z = side * 0.40 * width, 0.80 * belt
        parts.append(
            box(
                (0.16, 0.15 * width, 0.17),
                (x + 0.065, y, z),
                Material.LAMP,
                (0.30, 0.012, 0.012),
                CAR,
                lamp=1,
            )
        )
        turn = 2 if side > 0 else 3
        parts.append(
            box(
                (0.15, 0.12 * width, 0.06),
                (x + 0.065, y, z - 0.13),
                Material.LAMP,
                (0.5, 0.2, 0.03),
                CAR,
                lamp=turn,
            )
        )
    return parts


def _lamps(length: float, width: float, z: float) -> list[Mesh]:
    parts = []
    for side in (-1, 1):
        y = side * 0.42 * width
        for x, lamp, colour in (
            (length / 2, 0, (0.75, 0.75, 0.72)),
            (-length / 2, 1, (0.30, 0.012, 0.012)),
        ):
            parts.append(box((0.06, 0.18, 0.18), (x, y, z), Material.LAMP, colour, CAR, lamp=lamp))
            turn = 2 if side > 0 else 3
            parts.append(
                box(
                    (0.06, 0.14, 0.12),
                    (x, y, z + 0.17),
                    Material.LAMP,
                    (0.5, 0.2, 0.03),
                    CAR,
                    lamp=turn,
                )
            )
    return parts


def _truck(length: float, width: float, height: float) -> Mesh:
    nose = length / 2
    cab_length, cab_height = 1.9, min(2.5, height - 0.3)
    x_cab = nose - cab_length / 2
    load = length - cab_length - 0.15
    x_load = -length / 2 + load / 2
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
    body = _extruded(profile, width * 0.96, 0.06).moved(_shift(x_cab))
    windscreen = np.array(
        [
            [
                (x_cab + 0.945, -0.42 * width, 1.5),
                (x_cab + 0.945, 0.42 * width, 1.5),
                (x_cab + 0.60, 0.42 * width, cab_height - 0.15),
                (x_cab + 0.60, -0.42 * width, cab_height - 0.15),
            ]
        ]
    )
    parts = [
        body,
        quads(windscreen, np.zeros((1, 4, 2)), Material.GLASS, _GLASS, CAR),
        box(
            (load, width, height - 1.0),
            (x_load, 0, 1.0 + (height - 1.0) / 2),
            Material.CLOTH,
            _BARE,
            CAR,
        ),
        box((length - 0.3, 0.9, 0.25), (-0.1, 0, 0.72), Material.PLAIN, _DARK, CAR),
        box((0.1, 0.95 * width, 0.12), (-length / 2 + 0.04, 0, 0.55), Material.PLAIN, _DARK, CAR),
        _badge(
            _facing(-length / 2 - 0.012, 0, 0.80, 0.52, 0.12, False), Material.PLATE, (0.75,) * 3
        ),
        box((0.08, 0.8 * width, 0.3), (nose - 0.02, 0, 0.75), Material.PLAIN, _DARK, CAR),
    ]
    for side in (-1, 1):
        window = (0.8, 0.02, 0.6)
        parts.append(
            box(window, (x_cab + 0.2, side * 0.485 * width, 1.75), Material.GLASS, _GLASS, CAR)
        )
    parts += _wheels(width, 0.45, (-0.30 * length, nose - 0.95))
    return concat([*parts, *_lamps(length, width, 0.62)])


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
    parts = [_extruded(profile, width, 0.05)]
    panes = max(4, round(length / 1.5))
    pitch = 0.94 * length / panes
    for k in range(panes):
        centre = -0.47 * length + (k + 0.5) * pitch
        parts.append(
            box((pitch * 0.9, width + 0.012, 0.95), (centre, 0, 1.85), Material.GLASS, _GLASS, CAR)
        )
    parts.append(box((0.04, 0.88 * width, 1.25), (x, 0, 1.75), Material.GLASS, _GLASS, CAR))
    parts.append(box((0.04, 0.80 * width, 0.8), (-x, 0, 2.0), Material.GLASS, _GLASS, CAR))
    parts.append(
        box(
            (0.03, 0.7 * width, 0.28),
            (x + 0.005, 0, height - 0.28),
            Material.LAMP,
            (0.5, 0.3, 0.02),
            CAR,
            lamp=0,
        )
    )
    parts.append(
        _badge(_facing(-x - 0.012, 0, 0.75, 0.52, 0.12, False), Material.PLATE, (0.75,) * 3)
    )
    parts += _wheels(width, 0.47, (-0.28 * length, 0.33 * length))
    return concat([*parts, *_lamps(length, width, 0.75)])


def _shift(x: float) -> NDArray[np.float64]:
    T = np.eye(4)
    T[0, 3] = x
    return T
