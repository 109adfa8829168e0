"""Street furniture: lamp posts, traffic lights, signs, fences, bollards. Origins on the ground.

Things that face somebody face along -x, as does the driver of a lane that runs along +x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import FENCE, POLE, SIGN, Material, Mesh, concat, quads, triangles
from ros_xai.world.shapes import ball, box, tube

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import ArrayLike, NDArray

_STEEL = (0.22, 0.23, 0.24)
_BLACK = (0.02, 0.02, 0.02)


def lamp_post(rng: Generator, height: float, arm: float, lamp: int) -> Mesh:
    """Post with an arm along +y; the lamp hangs at (0, arm, height)."""
    grey = np.array(_STEEL) * rng.uniform(0.4, 1.5)
    parts = [
        tube((0, 0, 0), (0, 0, 1.1), 0.095, Material.METAL, grey, POLE, sides=8),
        tube((0, 0, 1.0), (0, 0, height), 0.065, Material.METAL, grey, POLE, 0.045, sides=8),
        tube((0, 0, height - 0.05), (0, arm, height + 0.12), 0.04, Material.METAL, grey, POLE),
        box((0.26, 0.62, 0.11), (0, arm, height + 0.12), Material.METAL, grey, POLE),
        box(
            (0.20, 0.48, 0.03),
            (0, arm, height + 0.05),
            Material.LAMP,
            (0.8, 0.75, 0.6),
            POLE,
            lamp=lamp,
        ),
    ]
    return concat(parts)


def traffic_light(first_lamp: int, height: float = 2.6, reach: float = 0.0) -> Mesh:
    """Signal head on a post, or overhead on an arm along +y; lamps red, amber, green."""
    parts = [tube((0, 0, 0), (0, 0, height + 0.9), 0.06, Material.METAL, _STEEL, POLE, sides=8)]
    heads = [(-0.10, 0.0, height)]
    if reach > 0:
        top = height + 2.9
        parts.append(tube((0, 0, height), (0, 0, top), 0.07, Material.METAL, _STEEL, POLE, sides=8))
        parts.append(tube((0, 0, top), (0, reach, top), 0.05, Material.METAL, _STEEL, POLE))
        heads.append((-0.10, reach, top - 0.95))
    for x, y, z in heads:
        parts.append(box((0.18, 0.30, 0.92), (x, y, z + 0.46), Material.PLAIN, _BLACK, SIGN))
        parts.append(box((0.02, 0.42, 1.06), (x + 0.10, y, z + 0.46), Material.PLAIN, _BLACK, SIGN))
        for k, colour in enumerate([(0.25, 0.01, 0.01), (0.25, 0.12, 0.01), (0.01, 0.2, 0.08)]):
            centre = np.array([x - 0.095, y, z + 0.76 - 0.29 * k])
            parts.append(
                tube(
                    centre,
                    centre - np.array([0.02, 0, 0]),
                    0.105,
                    Material.LAMP,
                    colour,
                    SIGN,
                    sides=12,
                    lamp=first_lamp + k,
                )
            )
            hood = centre + np.array([-0.06, 0, 0.11])
            parts.append(box((0.14, 0.22, 0.015), hood, Material.PLAIN, _BLACK, SIGN))
    return concat(parts)


_SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
_ROUND = np.array([(np.cos(a), np.sin(a)) for a in np.arange(16) * np.pi / 8])
_TRIANGLE = np.array([(-1, -1), (1, -1), (0, 1)], float)


def _plate(
    outline: NDArray[np.float64],
    width: float,
    height: float,
    z: float,
    material: Material,
    colour: ArrayLike,
    params: tuple[float, ...],
) -> Mesh:
    """Convex sign face towards -x and its grey back, centred at height z; uv = ``outline``."""
    fan = [(0, k, k + 1) for k in range(1, len(outline) - 1)]
    uv = outline[np.array(fan)]  # [F, 3, 2]
    x = np.full(uv.shape[:2], -0.07)
    face = np.stack([x, -uv[..., 0] * width / 2, z + uv[..., 1] * height / 2], axis=-1)
    back = face + np.array([0.012, 0, 0])
    return concat(
        [
            triangles(face, uv, material, colour, SIGN, params),
            triangles(back, uv, Material.METAL, (0.3, 0.3, 0.3), SIGN),
        ]
    )


def sign(rng: Generator) -> Mesh:
    """A traffic sign on its post: prohibition, order, warning, or direction board."""
    kind = rng.choice(["red", "blue", "warning", "board"], p=[0.35, 0.2, 0.2, 0.25])
    glyph = float(rng.integers(1, 30))
    height = float(rng.uniform(2.0, 2.6))
    post = tube((0, 0, 0), (0, 0, height + 0.4), 0.035, Material.METAL, _STEEL, POLE, sides=7)
    red, blue = (0.55, 0.02, 0.02), (0.01, 0.09, 0.45)
    if kind == "red":
        plate = _plate(_ROUND, 0.66, 0.66, height, Material.DISC, red, (0, glyph))
    elif kind == "blue":
        plate = _plate(_ROUND, 0.66, 0.66, height, Material.DISC, blue, (1, glyph))
    elif kind == "warning":
        plate = _plate(_TRIANGLE, 0.9, 0.8, height, Material.WARNING, red, (0, glyph))
    else:
        colours = np.array([[0.01, 0.08, 0.4], [0.01, 0.22, 0.08], [0.7, 0.55, 0.02], [0.7] * 3])
        width, colour = float(rng.uniform(0.7, 1.6)), colours[rng.integers(4)]
        params = (width / 2, glyph, 0.275)
        plate = _plate(_SQUARE, width, 0.55, height, Material.BOARD, colour, params)
    return concat([post, plate])


def billboard(rng: Generator) -> Mesh:
    """Advertisement on two legs."""
    colour = rng.uniform(0.03, 0.6, 3)
    legs = [tube((0, y, 0), (0, y, 1.0), 0.05, Material.METAL, _STEEL, POLE) for y in (-0.5, 0.5)]
    params = (0.65, float(rng.integers(1, 30)), 0.95)
    plate = _plate(_SQUARE, 1.3, 1.9, 1.75, Material.BOARD, colour, params)
    return concat([*legs, plate])


def bollard(rng: Generator) -> Mesh:
    height = float(rng.uniform(0.8, 1.1))
    return concat(
        [
            tube(
                (0, 0, 0), (0, 0, height), 0.07, Material.METAL, (0.04, 0.04, 0.04), POLE, sides=8
            ),
            ball((0.08, 0.08, 0.06), (0, 0, height), Material.METAL, (0.04,) * 3, POLE, 4),
        ]
    )


def bin_(rng: Generator) -> Mesh:
    """Wheeled waste bin."""
    colour = [(0.02, 0.10, 0.04), (0.03, 0.03, 0.035), (0.35, 0.2, 0.02)][rng.integers(3)]
    return concat(
        [
            box((0.55, 0.5, 0.95), (0, 0, 0.52), Material.PLAIN, colour, POLE),
            box((0.62, 0.56, 0.08), (0, 0, 1.03), Material.PLAIN, colour, POLE),
        ]
    )


def railing(length: float) -> Mesh:
    """Iron railing along x from 0: bars every 0.14 m between two rails."""
    x = np.arange(0.07, length, 0.14)
    lo, hi, half = 0.08, 1.12, 0.012
    bars = np.stack(
        [
            np.stack([x - half, 0 * x, 0 * x + lo], 1),
            np.stack([x + half, 0 * x, 0 * x + lo], 1),
            np.stack([x + half, 0 * x, 0 * x + hi], 1),
            np.stack([x - half, 0 * x, 0 * x + hi], 1),
        ],
        axis=1,
    )
    parts = [quads(bars, np.zeros((len(x), 4, 2)), Material.METAL, _BLACK, FENCE)]
    rail, post = (length, 0.04, 0.04), (0.06, 0.06, 1.2)
    parts += [box(rail, (length / 2, 0, z), Material.METAL, _BLACK, FENCE) for z in (0.16, 1.02)]
    posts = np.arange(0.0, length + 0.1, 2.1)
    parts += [box(post, (x, 0, 0.6), Material.METAL, _BLACK, FENCE) for x in posts]
    return concat(parts)


def wooden_fence(rng: Generator, length: float, height: float) -> Mesh:
    """Boards 0.14 m wide with small gaps along x from 0, each of its own shade."""
    x = np.arange(0.0, length - 0.1, 0.155)
    points = np.stack(
        [
            np.stack([x, 0 * x, 0 * x + 0.04], 1),
            np.stack([x + 0.14, 0 * x, 0 * x + 0.04], 1),
            np.stack([x + 0.14, 0 * x, 0 * x + height], 1),
            np.stack([x, 0 * x, 0 * x + height], 1),
        ],
        axis=1,
    )
    tone = np.array([[0.22, 0.14, 0.08], [0.5, 0.48, 0.44], [0.12, 0.10, 0.08]])[rng.integers(3)]
    shade = tone * rng.uniform(0.75, 1.25, (len(x), 1))
    uv = points[..., [0, 2]]
    rail = box((length, 0.03, 0.08), (length / 2, 0.03, 0.7 * height), Material.BARK, tone, FENCE)
    return concat([quads(points, uv, Material.BARK, shade, FENCE), rail])


def low_wall(length: float, height: float) -> Mesh:
    """Brick garden wall with coping along x from 0 (a fence to CamVid's eyes)."""
    wall, coping = (length, 0.22, height), (length, 0.30, 0.06)
    return concat(
        [
            box(wall, (length / 2, 0, height / 2), Material.BRICK, (0.3, 0.15, 0.1), FENCE),
            box(coping, (length / 2, 0, height), Material.CONCRETE, (0.4,) * 3, FENCE),
        ]
    )
