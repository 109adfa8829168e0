"""Simple bodies: panels, boxes, ribbons, walls, floors, lofts, tubes, balls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import Material, Mesh, concat, quads, smoothed, triangles

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def panel(
    origin: ArrayLike,
    along: ArrayLike,
    up: ArrayLike,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
    lamp: int = -1,
) -> Mesh:
    """One rectangle from a corner and its two sides; uv in metres along the sides."""
    o, a, b = (np.asarray(x, np.float64) for x in (origin, along, up))
    w, h = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    points = np.stack([o, o + a, o + a + b, o + b])[None]
    uv = [[[0, 0], [w, 0], [w, h], [0, h]]]
    return quads(points, uv, material, colour, label, params, lamp)


# corner signs around each of a box's faces, and the two axes that are its surface coordinates
_BOX_FACES = (
    ([(1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)], (1, 2)),
    ([(-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)], (1, 2)),
    ([(1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)], (0, 2)),
    ([(-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)], (0, 2)),
    ([(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)], (0, 1)),
    ([(-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)], (0, 1)),
)


def box(
    size: ArrayLike,
    centre: ArrayLike,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
    lamp: int = -1,
) -> Mesh:
    """Axis-aligned box; uv are two of its coordinates."""
    signs = np.array([face for face, _ in _BOX_FACES], np.float64)
    points = signs * np.asarray(size, np.float64) / 2 + np.asarray(centre, np.float64)
    uv = np.stack([points[k][:, list(axes)] for k, (_, axes) in enumerate(_BOX_FACES)])
    return quads(points, uv, material, colour, label, params, lamp)


def ribbon(
    left: ArrayLike,
    right: ArrayLike,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
) -> Mesh:
    """Surface between two polylines [P, 3]; u = distance along, v = distance from the right."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    middle = (a + b) / 2
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(middle, axis=0), axis=1))])
    width = np.linalg.norm(a - b, axis=1)
    uv_a, uv_b = np.stack([s, width], 1), np.stack([s, 0 * s], 1)
    points = np.stack([b[:-1], b[1:], a[1:], a[:-1]], axis=1)
    uv = np.stack([uv_b[:-1], uv_b[1:], uv_a[1:], uv_a[:-1]], axis=1)
    return quads(points, uv, material, colour, label, params)


def wall(
    line: ArrayLike,
    bottom: float,
    top: float,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
) -> Mesh:
    """Vertical surface over a polyline [P, 2]; uv = (distance along, height)."""
    xy = np.asarray(line, np.float64)
    low = np.column_stack([xy, np.full(len(xy), bottom)])
    high = np.column_stack([xy, np.full(len(xy), top)])
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    points = np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1)
    b, t = np.full(len(xy) - 1, bottom), np.full(len(xy) - 1, top)
    uv = np.stack(
        [
            np.stack([s[:-1], b], 1),
            np.stack([s[1:], b], 1),
            np.stack([s[1:], t], 1),
            np.stack([s[:-1], t], 1),
        ],
        axis=1,
    )
    return quads(points, uv, material, colour, label, params)


def floor(
    outline: ArrayLike,
    z: float,
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
) -> Mesh:
    """Horizontal polygon [P, 2], not necessarily convex; uv = map x, y."""
    import shapely

    polygon = shapely.make_valid(shapely.Polygon(np.asarray(outline, np.float64)))
    pieces = shapely.constrained_delaunay_triangles(polygon).geoms
    xy = np.array([np.asarray(piece.exterior.coords)[:3] for piece in pieces]).reshape(-1, 3, 2)
    points = np.concatenate([xy, np.full((*xy.shape[:2], 1), z)], axis=2)
    return triangles(points, xy, material, colour, label, params)


def loft(
    sections: Sequence[ArrayLike],
    material: Material,
    colour: ArrayLike,
    label: int,
    params: ArrayLike = (),
    capped: bool = True,
) -> Mesh:
    """Skin over closed sections [P, 3] of equal count, with caps; uv = the first and last axis."""
    rings = np.stack([np.asarray(s, np.float64) for s in sections])  # [S, P, 3]
    following = np.roll(rings, -1, axis=1)
    points = np.stack([rings[:-1], following[:-1], following[1:], rings[1:]], axis=2)
    points = points.reshape(-1, 4, 3)
    parts = [quads(points, points[..., [0, 2]], material, colour, label, params)]
    if capped:
        for ring in (rings[0][::-1], rings[-1]):
            centre = np.broadcast_to(ring.mean(0), ring.shape)
            fan = np.stack([centre, ring, np.roll(ring, -1, axis=0)], axis=1)
            parts.append(triangles(fan, fan[..., [0, 2]], material, colour, label, params))
    return smoothed(concat(parts))


def tube(
    start: ArrayLike,
    end: ArrayLike,
    radius: float,
    material: Material,
    colour: ArrayLike,
    label: int,
    end_radius: float | None = None,
    sides: int = 6,
    lamp: int = -1,
    capped: bool = True,
) -> Mesh:
    """Cylinder or cone frustum between two points; pointed ends have no caps."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = b - a
    length = max(float(np.linalg.norm(axis)), 1e-9)
    axis = axis / length
    side = np.cross(axis, [1.0, 0, 0] if abs(axis[0]) < 0.9 else [0, 1.0, 0])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    far = radius if end_radius is None else end_radius
    rings = [a + radius * circle, b + far * circle]
    low, high = rings
    points = np.stack([low, np.roll(low, -1, 0), np.roll(high, -1, 0), high], axis=1)
    u0 = angle * radius
    u1 = (angle + 2 * np.pi / sides) * radius
    zero, full = np.zeros(sides), np.full(sides, length)
    uv = np.stack(
        [
            np.stack([u0, zero], 1),
            np.stack([u1, zero], 1),
            np.stack([u1, full], 1),
            np.stack([u0, full], 1),
        ],
        axis=1,
    )
    around = np.roll(circle, -1, 0)
    outward = np.stack([circle, around, around, circle], axis=1)
    parts = [quads(points, uv, material, colour, label, lamp=lamp, normals=outward)]
    for ring, centre, size in ((low[::-1], a, radius), (high, b, far)):
        if capped and size > 0.02:
            fan = np.stack([np.broadcast_to(centre, ring.shape), ring, np.roll(ring, -1, 0)], 1)
            flat = np.stack([(fan - centre) @ side, (fan - centre) @ other], axis=-1)
            parts.append(triangles(fan, flat, material, colour, label, lamp=lamp))
    return concat(parts)


@cache
def _sphere(rings: int) -> NDArray[np.float64]:
    """Triangles [F, 3, 3] of the unit sphere, by latitude and longitude."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    longitude = np.linspace(0, 2 * np.pi, 2 * rings + 1)
    up, around = np.meshgrid(latitude, longitude, indexing="ij")
    grid = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], -1)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    lower, upper = np.stack([a, b, c], 2)[1:], np.stack([a, c, d], 2)[:-1]  # none at the poles
    return np.concatenate([lower.reshape(-1, 3, 3), upper.reshape(-1, 3, 3)])


def ball(
    radii: ArrayLike,
    centre: ArrayLike,
    material: Material,
    colour: ArrayLike,
    label: int,
    rings: int = 4,
) -> Mesh:
    """Ellipsoid with half axes ``radii``; 4 rings are 48 triangles."""
    unit, half = _sphere(rings), np.asarray(radii, np.float64)
    points = unit * half + np.asarray(centre)
    outward = unit / half
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    uv = points[..., :2] + points[..., 2:]
    return triangles(points, uv, material, colour, label, normals=outward)
