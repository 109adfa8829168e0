"""Houses: boxes with facades, shops, roofs, chimneys. Front along +x from the origin, depth +y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import BUILDING, Material, Mesh, concat, quads, triangles
from ros_xai.world.shapes import box, panel

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

_WALLS = np.array(
    [
        [0.30, 0.13, 0.08],
        [0.24, 0.10, 0.07],
        [0.42, 0.30, 0.18],
        [0.62, 0.55, 0.42],
        [0.72, 0.70, 0.64],
        [0.50, 0.44, 0.36],
        [0.36, 0.34, 0.32],
        [0.65, 0.50, 0.32],
        [0.55, 0.58, 0.60],
    ]
)
_BRICKS = 3  # the first colours are of brick
_ROOFS = np.array([[0.10, 0.10, 0.11], [0.20, 0.09, 0.06], [0.14, 0.12, 0.11], [0.26, 0.13, 0.08]])


@dataclass(frozen=True)
class Style:
    """One building's measures (m) and colours."""

    wall: NDArray[np.float64]
    brick: bool
    roof: NDArray[np.float64]
    gable: bool
    storey: float
    bay: float
    window: tuple[float, float]  # width over bay, height over storey
    ground: float  # height of a shop floor, 0 = dwelling
    seed: float


def style(rng: Generator, kind: str) -> Style:
    """Random style of a kind: terrace, house, or block."""
    index = int(rng.integers(len(_WALLS)))
    glassy = kind == "block" and rng.random() < 0.5
    return Style(
        _WALLS[index] * rng.uniform(0.8, 1.15),
        index < _BRICKS and not glassy,
        _ROOFS[rng.integers(len(_ROOFS))],
        kind == "house" or (kind == "terrace" and rng.random() < 0.65),
        float(rng.uniform(2.7, 3.4)),
        float(rng.uniform(2.0, 3.4)),
        (0.86, 0.72) if glassy else (float(rng.uniform(0.34, 0.55)), float(rng.uniform(0.42, 0.6))),
        float(rng.uniform(3.2, 4.0)) if kind != "house" and rng.random() < 0.55 else 0.0,
        float(rng.uniform(0, 1000)),
    )


def building(rng: Generator, look: Style, width: float, depth: float, storeys: int) -> Mesh:
    """A building of a footprint width x depth with whole bays and storeys."""
    height = look.ground + storeys * look.storey + 0.35
    bay = width / max(1, round(width / look.bay))
    facade = (bay, look.storey, *look.window, look.ground, look.seed + 0.5 * look.brick)
    side = (depth / max(1, round(depth / 4.5)), look.storey, 0.2, 0.4, look.ground, -look.seed)
    x, y, up = np.array([width, 0, 0]), np.array([0, depth, 0]), np.array([0, 0, height])
    zero = np.zeros(3)
    parts = [
        panel(zero, x, up, Material.FACADE, look.wall, BUILDING, facade),
        panel(x, y, up, Material.FACADE, look.wall, BUILDING, side),
        panel(y, -y, up, Material.FACADE, look.wall, BUILDING, side),
        panel(x + y, -x, up, Material.FACADE, look.wall, BUILDING, facade),
    ]
    if look.ground:
        parts.append(_shop(rng, look, width))
    parts += _gable(look, width, depth, height) if look.gable else _flat(look, width, depth, height)
    if look.gable and rng.random() < 0.7:
        at = (width * rng.uniform(0.1, 0.9), depth * 0.5, height + 0.30 * depth)
        parts.append(box((0.9, 0.6, 2.2), at, Material.BRICK, _WALLS[1], BUILDING))
    return concat(parts)


def _shop(rng: Generator, look: Style, width: float) -> Mesh:
    """Shop front 6 cm before the facade: fascia with lettering, panes, a door."""
    fascia = rng.choice(
        np.array(
            [
                [0.02, 0.06, 0.2],
                [0.35, 0.02, 0.02],
                [0.02, 0.15, 0.06],
                [0.6, 0.58, 0.5],
                [0.03, 0.03, 0.03],
                [0.6, 0.4, 0.02],
                [0.25, 0.02, 0.2],
            ]
        )
    )
    y = -0.06
    face = panel(
        (0.15, y, 0.0),
        (width - 0.3, 0, 0),
        (0, 0, look.ground - 0.1),
        Material.SHOP,
        fascia,
        BUILDING,
        (look.ground - 0.1, look.seed, width - 0.3),
    )
    ledge = box(
        (width - 0.2, 0.35, 0.10),
        (width / 2, -0.16, look.ground - 0.05),
        Material.PLAIN,
        fascia * 0.6,
        BUILDING,
    )
    if rng.random() < 0.3:
        z = look.ground - 0.75
        points = [
            (0.3, -0.1, z),
            (0.3, -1.3, z - 0.5),
            (width - 0.3, -1.3, z - 0.5),
            (width - 0.3, -0.1, z),
        ]
        uv = [(0, 0), (0, 1.3), (width, 1.3), (width, 0)]
        awning = quads([points], [uv], Material.CLOTH, fascia, BUILDING, (1.0,))
        return concat([face, ledge, awning])
    return concat([face, ledge])


def _flat(look: Style, width: float, depth: float, height: float) -> list[Mesh]:
    top = panel(
        (0, 0, height), (width, 0, 0), (0, depth, 0), Material.CONCRETE, (0.25,) * 3, BUILDING
    )
    cornice = box(
        (width + 0.24, 0.36, 0.34),
        (width / 2, 0.0, height + 0.1),
        Material.CONCRETE,
        np.clip(look.wall * 1.15, 0, 0.85),
        BUILDING,
    )
    return [top, cornice]


def _gable(look: Style, width: float, depth: float, height: float) -> list[Mesh]:
    rise, eave = 0.32 * depth, 0.35
    ridge = height + rise
    slope = float(np.hypot(depth / 2 + eave, rise))
    drop = rise * eave / (depth / 2)
    parts = []
    for front in (True, False):
        y0, y1 = (-eave, depth / 2) if front else (depth + eave, depth / 2)
        points = [
            (-0.1, y0, height - drop),
            (width + 0.1, y0, height - drop),
            (width + 0.1, y1, ridge),
            (-0.1, y1, ridge),
        ]
        uv = [(0, 0), (width, 0), (width, slope), (0, slope)]
        parts.append(quads([points], [uv], Material.ROOF, look.roof, BUILDING))
    for x in (0.0, width):
        points = np.array([(x, 0, height), (x, depth, height), (x, depth / 2, ridge)])
        material = Material.BRICK if look.brick else Material.CONCRETE
        parts.append(triangles(points, points[:, 1:], material, look.wall, BUILDING))
    gutter = box(
        (width + 0.2, 0.12, 0.10),
        (width / 2, -eave, height - drop),
        Material.PLAIN,
        (0.08,) * 3,
        BUILDING,
    )
    return [*parts, gutter]
