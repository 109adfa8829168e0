"""Meshes and bodies against closed forms of solid geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world.bodywork import LAMPS
from ros_xai.world.mesh import BUILDING, CAR, Material, Mesh, concat, face_normals, smoothed
from ros_xai.world.people import STRIDE, figure
from ros_xai.world.shapes import ball, box, floor, loft, panel, ribbon, tube, wall
from ros_xai.world.vehicles import vehicle

GREY = (0.5, 0.5, 0.5)
lengths = st.floats(0.2, 20.0)


def area(mesh: Mesh) -> float:
    a, b = mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0]
    return float(np.linalg.norm(np.cross(a.astype(float), b.astype(float)), axis=1).sum() / 2)


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.corners.astype(float), 1, 0)
    return float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6)


@given(lengths, lengths, lengths)
def test_a_box_has_its_volume_and_faces_outwards(x: float, y: float, z: float) -> None:
    mesh = box((x, y, z), (3.0, -2.0, 1.0), Material.PLAIN, GREY, BUILDING)
    assert volume(mesh) == pytest.approx(x * y * z, rel=1e-3)
    assert area(mesh) == pytest.approx(2 * (x * y + y * z + z * x), rel=1e-4)


def test_a_ball_comes_near_its_ellipsoid() -> None:
    mesh = ball((1.0, 2.0, 0.5), (0, 0, 0), Material.PLAIN, GREY, CAR, rings=24)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 1.0 * 2.0 * 0.5, rel=0.02)
    # the normal of an ellipsoid is the gradient of its equation
    gradient = mesh.corners.astype(float) / np.array([1.0, 4.0, 0.25])
    gradient /= np.linalg.norm(gradient, axis=-1, keepdims=True)
    assert np.allclose(mesh.normals, gradient, atol=1e-5)


def test_a_tube_is_a_cone_frustum() -> None:
    a, b, sides = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0]), 64
    mesh = tube(a, b, 0.5, Material.PLAIN, GREY, CAR, 0.2, sides=sides)
    h, r, q = 3.0, 0.5, 0.2
    assert volume(mesh) == pytest.approx(np.pi * h / 3 * (r * r + r * q + q * q), rel=5e-3)


def test_a_loft_of_squares_is_a_prism() -> None:
    square = np.array([(-1.0, -1.0), (1, -1), (1, 1), (-1, 1)])
    rings = [np.column_stack([square, np.full(4, z)]) for z in (0.0, 2.0, 5.0)]
    mesh = loft(rings, Material.PLAIN, GREY, CAR)
    assert abs(volume(mesh)) == pytest.approx(20.0)


def test_floor_fills_a_polygon_that_is_not_convex() -> None:
    outline = np.array([(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)], float)
    mesh = floor(outline, 0.3, Material.PAVERS, GREY, BUILDING)
    assert area(mesh) == pytest.approx(10.0)
    assert np.allclose(mesh.corners[..., 2], 0.3)
    assert np.allclose(mesh.uv, mesh.corners[..., :2])


def test_surface_coordinates_are_metres() -> None:
    flat = panel((0, 0, 0), (3, 4, 0), (0, 0, 2), Material.FACADE, GREY, BUILDING)
    line = np.array([[0.0, 0], [3, 0], [3, 4]])
    upright = wall(line, 1.0, 2.5, Material.FACADE, GREY, BUILDING)
    left = np.array([[0.0, 1, 0], [10, 1, 0]])
    band = ribbon(left, left - [0, 2, 0], Material.LANE, GREY, BUILDING)
    for mesh in (flat, upright, band):
        edges = mesh.corners - np.roll(mesh.corners, 1, axis=1)
        drawn = mesh.uv - np.roll(mesh.uv, 1, axis=1)
        assert np.allclose(np.linalg.norm(edges, axis=2), np.linalg.norm(drawn, axis=2), atol=1e-5)
    assert upright.uv[..., 1].min() == 1.0 and upright.uv[..., 1].max() == 2.5
    assert band.uv[band.corners[..., 1] < 0].max(axis=0)[1] == 0.0  # v counts from the right


def test_moving_keeps_shape_texture_and_unit_normals() -> None:
    mesh = ball((1, 1, 1), (0, 0, 0), Material.PLAIN, GREY, CAR)
    T = pose(rotation_z(0.8), (5, 6, 7)) @ np.diag([0.6, 0.6, 0.6, 1.0])
    moved = mesh.moved(T)
    assert volume(moved) == pytest.approx(0.6**3 * volume(mesh), rel=1e-4)
    assert np.allclose(np.linalg.norm(moved.normals, axis=-1), 1.0, atol=1e-5)
    assert np.allclose(moved.normals[0, 0], rotation_z(0.8) @ mesh.normals[0, 0], atol=1e-6)
    assert np.array_equal(moved.uv, mesh.uv)


def test_smoothing_bends_a_cylinder_and_leaves_a_box() -> None:
    cylinder = tube((0, 0, 0), (0, 0, 1), 1.0, Material.PLAIN, GREY, CAR, sides=24)
    flat = Mesh(
        **{**vars(cylinder), "normals": face_normals(cylinder.corners)[:, None].repeat(3, 1)}
    )
    mantle = np.abs(face_normals(cylinder.corners)[:, 2]) < 0.5
    radial = cylinder.corners[mantle] * [1, 1, 0]
    radial /= np.linalg.norm(radial, axis=-1, keepdims=True)
    assert np.allclose(smoothed(flat).normals[mantle], radial, atol=0.05)
    cube = box((1, 1, 1), (0, 0, 0), Material.PLAIN, GREY, CAR)
    assert np.allclose(smoothed(cube).normals, cube.normals)


def test_concat_of_nothing_is_an_empty_mesh() -> None:
    assert len(concat([])) == 0


@pytest.mark.parametrize(
    ("category", "size"),
    [
        ("car", (3.75, 1.68, 1.52)),
        ("car", (4.75, 1.82, 1.44)),
        ("car", (4.60, 1.88, 1.72)),
        ("car", (5.10, 1.95, 2.10)),
        ("truck", (6.80, 2.35, 3.20)),
        ("bus", (8.40, 2.50, 3.05)),
    ],
)
def test_vehicles_fill_their_boxes_and_carry_lamps(
    category: str, size: tuple[float, float, float]
) -> None:
    mesh = vehicle(np.random.default_rng(0), category, np.array(size))
    low, high = mesh.corners.reshape(-1, 3).min(0), mesh.corners.reshape(-1, 3).max(0)
    assert abs(low[2]) < 0.02, "wheels stand on the ground"
    assert high[2] == pytest.approx(size[2], abs=0.12)
    assert np.allclose(high[:2] - low[:2], size[:2], atol=0.42)  # mirrors stand out
    assert np.all(mesh.label == CAR)
    assert set(np.unique(mesh.lamp)) == {-1, *range(len(LAMPS))}
    # head lamps ahead, tail lamps behind, left on the left
    place = mesh.corners.mean(axis=1)
    assert place[mesh.lamp == 0, 0].min() > 0 > place[mesh.lamp == 1, 0].max()
    assert place[mesh.lamp == 2, 1].min() > 0 > place[mesh.lamp == 3, 1].max()


@pytest.mark.parametrize(("rides", "height"), [(False, 1.6), (False, 1.9), (True, 1.75)])
def test_people_stand_on_the_ground_at_their_height(rides: bool, height: float) -> None:
    who = figure(np.random.default_rng(1), height, rides)
    for distance in (0.0, 0.4, 0.9):
        points = who.posed(distance, True).corners.reshape(-1, 3)
        assert -0.05 < points[:, 2].min() < 0.08
        assert points[:, 2].max() == pytest.approx(height, abs=0.14)
        assert np.abs(points[:, 1]).max() < 0.45


def test_gait_repeats_after_a_stride() -> None:
    who = figure(np.random.default_rng(2), 1.75, False)
    first, again = who.posed(0.2, True), who.posed(0.2 + STRIDE, True)
    assert np.allclose(first.corners, again.corners, atol=1e-5)
    assert not np.allclose(first.corners, who.posed(0.9, True).corners, atol=0.05)
