"""Pieces of vehicles: pressed bodies, glass, wheels, plates, lamps. x forward, y left, z up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import CAR, Material, Mesh, quads
from ros_xai.world.shapes import box, loft, tube

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]
    Triple = tuple[float, float, float]

BARE = (0.5, 0.5, 0.5)  # until it is painted
LAMPS = ("head", "tail", "left", "right")  # a lamp's number is its place here
_LENSES = ((0.75, 0.75, 0.72), (0.30, 0.012, 0.012), (0.55, 0.22, 0.03), (0.55, 0.22, 0.03))
_GLASS, _DARK, _WHITE = (0.02, 0.025, 0.03), (0.015, 0.015, 0.017), (0.75, 0.75, 0.75)
_PLATE = (0.52, 0.12)  # metres


def pressed(profile: Points, width: float, bevel: float, seams: tuple[float, ...] = ()) -> Mesh:
    """Side profile [P, 2] (x, z) swept across the width, its outer edges rounded by ``bevel`` m.

    seams: parameters of the paint, see ``materials``.
    """
    centre = profile.mean(axis=0)
    half = np.ptp(profile, axis=0) / 2
    sections = []
    for y, shrink in (
        (-0.50, 1.0),
        (-0.46, 0.35),
        (-0.38, 0.0),
        (0.38, 0.0),
        (0.46, 0.35),
        (0.50, 1.0),
    ):
        xz = centre + (profile - centre) * np.maximum(1 - shrink * bevel / half, 0.8)
        sections.append(np.column_stack([xz[:, 0], np.full(len(xz), y * width), xz[:, 1]]))
    return loft(sections, Material.PAINT, BARE, CAR, seams)


def trim(size: Triple, centre: Triple) -> Mesh:
    """Black plastic: bumpers, grilles, mirrors."""
    return box(size, centre, Material.PLAIN, _DARK, CAR)


def glass(size: Triple, centre: Triple) -> Mesh:
    return box(size, centre, Material.GLASS, _GLASS, CAR)


def panes(outlines: list[Points]) -> Mesh:
    """Windows from their four corners [4, 3] each."""
    uv = np.zeros((len(outlines), 4, 2))
    return quads(np.stack(outlines), uv, Material.GLASS, _GLASS, CAR)


def lamp(kind: str, size: Triple, centre: Triple) -> Mesh:
    """A lamp of ``LAMPS``; its power is the frame's."""
    number = LAMPS.index(kind)
    return box(size, centre, Material.LAMP, _LENSES[number], CAR, lamp=number)


def turn_lamp(side: int, size: Triple, centre: Triple) -> Mesh:
    """The indicator of a side, 1 = left."""
    return lamp("left" if side > 0 else "right", size, centre)


def plate(x: float, z: float, forward: bool) -> Mesh:
    """Registration plate in a plane x = const, read from ahead or from behind."""
    width, height = _PLATE
    w, h = (1 if forward else -1) * width / 2, height / 2
    points = [[(x, -w, z - h), (x, w, z - h), (x, w, z + h), (x, -w, z + h)]]
    uv = [[(0, 0), (width, 0), (width, height), (0, height)]]
    return quads(points, uv, Material.PLATE, _WHITE, CAR)


def inset(corners: Points, side: float, low: float, high: float) -> Points:
    """The quad [4, 3] shrunk by shares of its sides and lifted 6 mm off its plane."""
    a, b, c, d = corners
    normal = np.cross(b - a, d - a)
    normal *= 0.006 / np.linalg.norm(normal)

    def at(u: float, v: float) -> Points:
        point: Points = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)
        return point + normal

    return np.stack([at(side, low), at(1 - side, low), at(1 - side, 1 - high), at(side, 1 - high)])


def halves(corners: Points, gap: float = 0.035) -> list[Points]:
    """The quad [4, 3] split by an upright pillar."""
    a, b, c, d = corners
    low, high = (a + b) / 2, (c + d) / 2
    below, above = (b - a) * gap, (c - d) * gap
    return [
        np.stack([a, low - below, high - above, d]),
        np.stack([low + below, b, c, high + above]),
    ]


def wheels(width: float, radius: float, axles: tuple[float, ...]) -> list[Mesh]:
    """Wheels on axles at x: dark arch, tyre and hub, each a little further out."""
    layers = (
        (1.13, 0.005, Material.PLAIN, (0.006,) * 3, 14),
        (1.0, 0.012, Material.TYRE, (0.02,) * 3, 14),
        (0.62, 0.020, Material.METAL, (0.38, 0.38, 0.40), 10),
    )
    parts = []
    for x in axles:
        for side in (-1, 1):
            for size, out, material, colour, sides in layers:
                z = radius * max(size, 1.0)
                inner = (x, side * (width / 2 - 0.10), z)
                outer = (x, side * (width / 2 + out), z)
                parts.append(tube(inner, outer, radius * size, material, colour, CAR, sides=sides))
    return parts


def square_lamps(length: float, width: float, z: float) -> list[Mesh]:
    """Lamps of trucks and buses at the four corners, indicators above them."""
    parts = []
    for side in (-1, 1):
        y = side * 0.42 * width
        for kind, x in (("head", length / 2), ("tail", -length / 2)):
            parts.append(lamp(kind, (0.06, 0.18, 0.18), (x, y, z)))
            parts.append(turn_lamp(side, (0.06, 0.14, 0.12), (x, y, z + 0.17)))
    return parts
