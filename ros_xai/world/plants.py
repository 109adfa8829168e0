"""Trees, hedges and shrubs: crowns of single leaf clusters, so that light and rays pass through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import TREE, Material, Mesh, concat, triangles
from ros_xai.world.shapes import ball, box, tube

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

_GREENS = np.array(
    [
        [0.06, 0.13, 0.025],
        [0.09, 0.15, 0.03],
        [0.05, 0.10, 0.03],
        [0.13, 0.14, 0.03],
        [0.18, 0.12, 0.03],
    ]
)
_BARK = np.array([0.10, 0.075, 0.055])


def leaves(
    rng: Generator,
    centres: NDArray[np.float64],
    outward: NDArray[np.float64],
    size: float,
    colour: NDArray[np.float64],
) -> Mesh:
    """One randomly turned triangle per centre [N, 3]; ``size`` its edge in metres.

    They take light like the crown they make up, whose normals are about ``outward`` [N, 3].
    """
    count = len(centres)
    corners = centres[:, None] + rng.normal(0, size * 0.55, (count, 3, 3))
    shade = colour * rng.uniform(0.55, 1.45, (count, 1))
    uv = corners[..., :2] + corners[..., 2:]
    normals = outward + rng.normal(0, 0.35, (count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.repeat(normals[:, None], 3, axis=1)
    return triangles(corners, uv, Material.LEAF, shade, TREE, normals=normals)


def broadleaf(rng: Generator, height: float, density: int = 150) -> Mesh:
    """Tree in leaf, trunk at the origin; ``density`` leaf clusters on each of its boughs."""
    trunk_top = height * rng.uniform(0.25, 0.38)
    colour = _GREENS[rng.integers(len(_GREENS))] * rng.uniform(0.8, 1.25)
    spread = height * rng.uniform(0.22, 0.34)
    parts = [
        tube(
            (0, 0, -0.1),
            (0, 0, trunk_top * 1.3),
            0.022 * height,
            Material.BARK,
            _BARK,
            TREE,
            end_radius=0.013 * height,
            sides=7,
        )
    ]
    for _ in range(rng.integers(5, 9)):
        turn, lift = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.95)
        reach = spread * rng.uniform(0.25, 0.95) * np.sin(np.pi * (0.15 + 0.8 * lift))
        centre = np.array(
            [
                reach * np.cos(turn),
                reach * np.sin(turn),
                trunk_top + (height - trunk_top) * (0.12 + 0.75 * lift),
            ]
        )
        radius = spread * rng.uniform(0.38, 0.6)
        parts.append(
            tube(
                (0, 0, trunk_top),
                centre,
                0.010 * height,
                Material.BARK,
                _BARK,
                TREE,
                end_radius=0.01,
                sides=4,
            )
        )
        parts.append(ball(np.full(3, radius * 0.72), centre, Material.LEAF, colour * 0.45, TREE, 4))
        direction = rng.normal(size=(density, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        shell = centre + direction * radius * rng.uniform(0.7, 1.1, (density, 1)) * [1, 1, 0.85]
        parts.append(leaves(rng, shell, direction, 2.8 / density**0.5, colour))
    return concat(parts)


def conifer(rng: Generator, height: float) -> Mesh:
    colour = np.array([0.035, 0.08, 0.035]) * rng.uniform(0.8, 1.3)
    lift = rng.uniform(0.08, 1.0, 260) ** 1.3
    turn = rng.uniform(0, 2 * np.pi, 260)
    reach = (1.02 - lift) * height * 0.24 * rng.uniform(0.6, 1.0, 260)
    points = np.stack([reach * np.cos(turn), reach * np.sin(turn), lift * height], axis=1)
    cone = tube(
        (0, 0, 0.08 * height),
        (0, 0, 0.95 * height),
        0.19 * height,
        Material.LEAF,
        colour * 0.5,
        TREE,
        end_radius=0.01,
        sides=9,
    )
    trunk = tube((0, 0, -0.1), (0, 0, 0.15 * height), 0.02 * height, Material.BARK, _BARK, TREE)
    return concat([trunk, cone, leaves(rng, points, points * [1, 1, 0.02], 0.42, colour)])


def bare(rng: Generator, height: float) -> Mesh:
    """Winter tree: three generations of branches, twigs as thin triangles."""
    parts = [
        tube(
            (0, 0, -0.1),
            (0, 0, 0.38 * height),
            0.022 * height,
            Material.BARK,
            _BARK,
            TREE,
            end_radius=0.016 * height,
            sides=7,
        )
    ]
    twigs: list[NDArray[np.float64]] = []
    for _ in range(6):
        _branch(
            rng,
            parts,
            twigs,
            np.array([0, 0, 0.36 * height]),
            _upward(rng, 0.8),
            0.30 * height,
            0.010 * height,
            2,
        )
    points = np.stack(twigs)
    return concat([*parts, triangles(points, points[..., [0, 2]], Material.BARK, _BARK, TREE)])


def _upward(rng: Generator, spread: float) -> NDArray[np.float64]:
    direction = rng.normal(0, spread, 3) + np.array([0, 0, 1.0])
    direction[2] = abs(direction[2])
    unit: NDArray[np.float64] = direction / np.linalg.norm(direction)
    return unit


def _branch(
    rng: Generator,
    parts: list[Mesh],
    twigs: list[NDArray[np.float64]],
    start: NDArray[np.float64],
    direction: NDArray[np.float64],
    length: float,
    radius: float,
    generation: int,
) -> None:
    end = start + direction * length
    parts.append(tube(start, end, radius, Material.BARK, _BARK, TREE, radius * 0.45, sides=3))
    for _ in range(4):
        origin = start + direction * length * rng.uniform(0.45, 1.0)
        turned = direction + rng.normal(0, 0.55, 3)
        turned /= np.linalg.norm(turned)
        if generation > 1:
            _branch(rng, parts, twigs, origin, turned, length * 0.62, radius * 0.5, generation - 1)
            continue
        for _ in range(2):
            tip = origin + (turned + rng.normal(0, 0.4, 3)) * length * rng.uniform(0.4, 0.8)
            width = rng.normal(0, 0.02, 3)
            twigs.append(np.stack([origin - width, origin + width, tip]))


def hedge(rng: Generator, length: float, height: float, depth: float) -> Mesh:
    """Clipped hedge along x from 0 to ``length``, centred on y = 0."""
    colour = _GREENS[rng.integers(3)]
    core = box(
        (length, depth * 0.9, height * 0.95),
        (length / 2, 0, height * 0.475),
        Material.LEAF,
        colour * 0.7,
        TREE,
    )
    count = max(20, round(length * height * 16))
    points = np.stack(
        [
            rng.uniform(0, length, count),
            rng.choice([-0.5, 0.5], count) * depth,
            rng.uniform(0, height, count),
        ],
        axis=1,
    )
    top = rng.random(count) < 0.3
    points[top, 1], points[top, 2] = rng.uniform(-0.5, 0.5, top.sum()) * depth, height
    outward = np.column_stack([0 * points[:, 0], points[:, 1] * 3, top + 0.3])
    return concat([core, leaves(rng, points, outward, 0.16, colour)])
