"""The ray caster against closed forms and against a linear solver."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.world.mesh import CAR, Material, concat
from ros_xai.world.rays import Surface, cast, occluded, uv_gradients
from ros_xai.world.shapes import ball, box, panel

GREY = (0.5, 0.5, 0.5)


def directions(count: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_nearest_of_several_surfaces_wins_and_faces_count_through() -> None:
    near = Surface(box((2, 2, 2), (5, 0, 0), Material.PLAIN, GREY, CAR))
    far = Surface(box((2, 2, 2), (9, 0, 0), Material.PLAIN, GREY, CAR))
    empty = Surface(concat([]))
    ray = np.array([[2.0, 0.02, 0.01]], np.float32)
    origin = np.zeros((1, 3), np.float32)
    for surfaces, first in (([empty, near, far], 0), ([far, empty, near], 12)):
        hits = cast(surfaces, origin, ray)
        assert hits.distance[0] == pytest.approx(2.0)  # in units of the direction
        assert first <= hits.face[0] < first + 12
        assert np.allclose(hits.normal[0], [-1, 0, 0])
    missed = cast([near], origin, -ray)
    assert missed.face[0] == -1 and np.isinf(missed.distance[0])


def test_hits_agree_with_a_linear_solver() -> None:
    mesh = concat(
        [
            ball((3, 2, 1), (0, 0, 2.5), Material.PLAIN, GREY, CAR, rings=6),
            box((4, 1, 2), (3, 1, 0), Material.PLAIN, GREY, CAR),
        ]
    )
    rays = directions(300)
    hits = cast([Surface(mesh)], np.zeros_like(rays), rays)
    # t d = a + u (b - a) + v (c - a), for every ray and triangle
    a, b, c = np.moveaxis(mesh.corners.astype(float), 1, 0)
    columns = np.stack(
        np.broadcast_arrays(rays[:, None].astype(float), a - b, a - c), axis=-1
    )  # [N, F, 3, 3]
    solvable = np.abs(np.linalg.det(columns)) > 1e-9
    columns[~solvable] = np.eye(3)
    t, u, v = np.moveaxis(np.linalg.solve(columns, a[None, ..., None])[..., 0], -1, 0)
    inside = solvable & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    expected = np.where(inside, t, np.inf).min(axis=1)
    assert 20 < np.isfinite(expected).sum() < 300
    assert np.allclose(hits.distance, expected, rtol=1e-4)


def test_barycentric_weights_give_the_point() -> None:
    mesh = ball((2, 2, 2), (0, 0, 0), Material.PLAIN, GREY, CAR)
    rays = directions(200)
    hits = cast([Surface(mesh)], np.zeros_like(rays), rays)
    corners = mesh.corners[hits.face]
    weights = np.column_stack([1 - hits.barycentric.sum(axis=1), hits.barycentric])
    points = np.einsum("nc,nck->nk", weights, corners)
    assert np.allclose(points, rays * hits.distance[:, None], atol=1e-4)


def test_shadow_of_a_box() -> None:
    surface = Surface(box((2, 2, 1), (0, 0, 5), Material.PLAIN, GREY, CAR))
    x = np.linspace(-3, 3, 25, dtype=np.float32)
    origins = np.stack([x, 0 * x, 0 * x], axis=1)
    up = np.tile(np.float32([0, 0, 1]), (25, 1))
    assert np.array_equal(occluded([surface], origins, up), np.abs(x) <= 1)


def test_gradients_of_surface_coordinates_are_their_differences() -> None:
    mesh = panel((1, 2, 3), (3, 1, 0), (0.2, 0.5, 2), Material.FACADE, GREY, CAR)
    gradients = uv_gradients(mesh)
    for face in range(len(mesh)):
        edges = np.diff(mesh.corners[face], axis=0)
        assert np.allclose(edges @ gradients[face].T, np.diff(mesh.uv[face], axis=0), atol=1e-4)
        normal = np.cross(*edges)
        assert np.allclose(gradients[face] @ normal, 0, atol=1e-4)
