"""A plot of ground along a street: a house, its apron or garden, and what bounds it.

Front along +x from the origin on the pavement's border, depth +y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.core.geometry import pose
from ros_xai.world import furniture, plants
from ros_xai.world.buildings import building, style
from ros_xai.world.mesh import PAVEMENT, TREE, Material, Mesh, concat
from ros_xai.world.shapes import panel

if TYPE_CHECKING:
    from numpy.random import Generator

_GRASS, _STONE = (0.10, 0.13, 0.035), (0.25, 0.25, 0.24)


def plot(
    rng: Generator,
    kind: str,
    width: float,
    garden: float,
    depth: float,
    storeys: int,
    trees: Sequence[Mesh],
) -> Mesh:
    """A built plot of a kind (terrace, house, block); garden = depth of the front garden, m."""
    house = building(rng, style(rng, kind), width - 0.02, depth, storeys)
    material, colour, label = (
        (Material.GRASS, _GRASS, TREE) if garden else (Material.PAVERS, _STONE, PAVEMENT)
    )
    apron = panel((0, -0.3, -0.01), (width, 0, 0), (0, garden + 1.0, 0), material, colour, label)
    parts = [_moved(house, 0.01, garden + 0.35), apron]
    if garden:
        parts += _garden(rng, width, garden, trees)
    return concat(parts)


def back_house(width: float, depth: float, rng: Generator) -> Mesh:
    """A house away from the street, without a shop."""
    look = style(rng, "house" if rng.random() < 0.5 else "terrace")
    return building(rng, replace(look, ground=0.0), width, depth, int(rng.integers(2, 6)))


def _moved(mesh: Mesh, x: float, y: float) -> Mesh:
    return mesh.moved(pose(np.eye(3), (x, y, 0.0)))


def _garden(rng: Generator, width: float, garden: float, trees: Sequence[Mesh]) -> list[Mesh]:
    """Hedge, fence, railing or wall with a gap for the gate, and perhaps a tree."""
    run = max(width - float(rng.uniform(2.0, 3.2)), 1.0)
    border = rng.integers(5)
    if border == 0:
        piece = plants.hedge(rng, run, float(rng.uniform(1.0, 1.8)), 0.6)
    elif border == 1:
        piece = furniture.wooden_fence(rng, run, float(rng.uniform(1.0, 1.7)))
    elif border == 2:
        piece = furniture.railing(run)
    else:
        piece = furniture.low_wall(run, float(rng.uniform(0.6, 1.1)))
    parts = [_moved(piece, 0, 0.3)]
    if rng.random() < 0.6:
        tree = trees[rng.integers(len(trees))].moved(np.diag([0.6, 0.6, 0.6, 1]))
        parts.append(_moved(tree, float(rng.uniform(1, width - 1)), garden * 0.55))
    return parts
