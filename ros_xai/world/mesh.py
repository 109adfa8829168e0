"""Triangle soups with surface coordinates: the one form of geometry of the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
PARAMETERS = 6


class Material(IntEnum):
    """How a surface's coordinates become colour; see ``appearance``."""

    PLAIN = 0
    LANE = 1
    ASPHALT = 2
    PAVERS = 3
    CROSSING = 4
    GRASS = 5
    FACADE = 6
    ROOF = 7
    LEAF = 8
    BARK = 9
    PAINT = 10
    GLASS = 11
    METAL = 12
    LAMP = 13
    PLATE = 14
    BRICK = 15
    CONCRETE = 16
    CLOTH = 17
    TYRE = 18
    DISC = 19  # round sign
    BOARD = 20  # rectangular sign or advertisement
    WARNING = 21  # triangular sign
    SHOP = 22
    SKIN = 23


@dataclass(frozen=True)
class Mesh:
    """F triangles.

    corners, normals [F, 3, 3] metres and unit vectors (those of light; of the surface they bend
    over, not of the triangle); uv [F, 3, 2] surface coordinates in metres, fixed to the surface;
    material, label, instance, lamp [F] (lamp: index into the frame's lamp powers, -1 = none);
    colour [F, 3] linear albedo; params [F, 6] of the material.
    """

    corners: Floats
    normals: Floats
    uv: Floats
    material: NDArray[np.uint8]
    colour: Floats
    params: Floats
    lamp: NDArray[np.int32]
    label: NDArray[np.uint8]
    instance: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.corners)

    def moved(self, T: ArrayLike) -> Mesh:
        """The mesh under a 4x4 transform (equal scaling allowed); surface coordinates stay."""
        matrix = np.asarray(T, np.float32)
        linear = matrix[:3, :3]
        turn = linear / np.float32(np.cbrt(np.linalg.det(linear)))
        corners = self.corners.reshape(-1, 3) @ linear.T + matrix[:3, 3]
        normals = self.normals.reshape(-1, 3) @ turn.T
        shape = self.corners.shape
        return replace(self, corners=corners.reshape(shape), normals=normals.reshape(shape))

    def with_instance(self, instance: int, first_lamp: int = 0) -> Mesh:
        """Marked as one mover, its lamps numbered from ``first_lamp``."""
        lamp = np.where(self.lamp >= 0, self.lamp + first_lamp, -1).astype(np.int32)
        return replace(self, lamp=lamp, instance=np.full(len(self), instance, np.uint16))

    def chosen(self, faces: NDArray[np.intp]) -> Mesh:
        """The faces of the given numbers."""
        return Mesh(**{f.name: getattr(self, f.name)[faces] for f in fields(self)})


def _rows(value: ArrayLike, count: int, width: int) -> Floats:
    """Rows [count, width] of one value for all (cut short: zeros follow) or of one per row."""
    row = np.asarray(value, np.float32)
    if row.ndim == 2:
        return row
    rows = np.zeros((count, width), np.float32)
    rows[:, : row.size if row.ndim else width] = row
    return rows


def triangles(
    corners: ArrayLike,
    uv: ArrayLike,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
    lamp: int = -1,
    normals: ArrayLike | None = None,
) -> Mesh:
    """Mesh of corners [F, 3, 3] and uv [F, 3, 2]; colour, params one for all or one per face.

    Without ``normals`` [F, 3, 3] each triangle is flat.
    """
    points = np.asarray(corners, np.float32).reshape(-1, 3, 3)
    count = len(points)
    bent = face_normals(points)[:, None].repeat(3, axis=1) if normals is None else normals
    return Mesh(
        points,
        np.asarray(bent, np.float32).reshape(-1, 3, 3),
        np.asarray(uv, np.float32).reshape(-1, 3, 2),
        np.full(count, material, np.uint8),
        _rows(colour, count, 3),
        _rows(params, count, PARAMETERS),
        np.full(count, lamp, np.int32),
        np.full(count, label, np.uint8),
        np.zeros(count, np.uint16),
    )


def face_normals(corners: Floats) -> Floats:
    """Unit normals [F, 3] of triangles [F, 3, 3]; zero where a triangle has no area."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )
    unit: Floats = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return unit


def smoothed(mesh: Mesh, crease: float = 48.0) -> Mesh:
    """The mesh with its normals averaged over faces that meet at less than ``crease`` degrees."""
    flat = face_normals(mesh.corners)
    keys = np.round(mesh.corners.reshape(-1, 3) / 0.002).astype(np.int64)
    _, vertex = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(vertex.ravel(), kind="stable")
    count = np.bincount(vertex.ravel())[vertex.ravel()[order]]  # corners at each corner's vertex
    first = np.searchsorted(vertex.ravel()[order], vertex.ravel()[order])
    own = np.repeat(np.arange(len(order)), count)
    nth = np.arange(len(own)) - np.repeat(np.cumsum(count) - count, count)
    other = first[own] + nth
    mine, theirs = flat[order[own] // 3], flat[order[other] // 3]
    agree = np.einsum("nk,nk->n", mine, theirs)
    near = np.abs(agree) > np.cos(np.deg2rad(crease))
    total = np.zeros((len(order), 3), np.float32)
    np.add.at(total, order[own[near]], theirs[near] * np.sign(agree[near])[:, None])
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return replace(mesh, normals=total.reshape(-1, 3, 3))


def concat(meshes: Iterable[Mesh]) -> Mesh:
    parts = list(meshes) or [
        triangles(np.empty((0, 3, 3)), np.empty((0, 3, 2)), Material.PLAIN, 0.0, SKY)
    ]
    names = [f.name for f in fields(Mesh)]
    return Mesh(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def quads(
    points: ArrayLike,
    uv: ArrayLike,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
    lamp: int = -1,
    normals: ArrayLike | None = None,
) -> Mesh:
    """Two triangles per quad; points, normals [N, 4, 3] and uv [N, 4, 2] in order around it."""
    p = np.asarray(points, np.float32).reshape(-1, 4, 3)
    t = np.asarray(uv, np.float32).reshape(-1, 4, 2)
    order = [0, 1, 2, 0, 2, 3]
    colour, params = _rows(colour, len(p), 3), _rows(params, len(p), PARAMETERS)
    return triangles(
        p[:, order].reshape(-1, 3, 3),
        t[:, order].reshape(-1, 3, 2),
        material,
        np.repeat(colour, 2, axis=0),
        label,
        np.repeat(params, 2, axis=0),
        lamp,
        None if normals is None else np.asarray(normals)[:, order].reshape(-1, 3, 3),
    )
