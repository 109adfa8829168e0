"""The vector map: offsets and strips against closed forms, parsing, records, rasters."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.core.geometry import pose, rotation_z
from ros_xai.world.network import NetworkConfig, build_network
from ros_xai.world.raster import rasterise
from ros_xai.world.road_map import RoadMap, along, arc_length, offset, read_map, strip

CIRCLE = 20.0 * np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 400)), np.sin(a)], axis=1)


@pytest.fixture(scope="module")
def road_map() -> RoadMap:
    return read_map(build_network(4, NetworkConfig(columns=2, rows=2, removed=0.0, lights=1.0)))


@given(st.floats(-5, 5))
def test_offset_of_a_circle_is_a_circle(distance: float) -> None:
    moved = offset(CIRCLE, distance)[1:-1]
    # left of a counter-clockwise circle is inside
    assert np.allclose(np.linalg.norm(moved, axis=1), 20.0 - distance, atol=0.01)


@given(st.floats(0.3, 2.8), st.floats(0.5, 3.0))
def test_offset_keeps_its_distance_to_both_legs_of_a_corner(turn: float, distance: float) -> None:
    legs = np.array([[-10.0, 0], [0, 0], [10 * np.cos(turn / 2), 10 * np.sin(turn / 2)]])
    corner = offset(legs, distance)[1]
    normal = np.array([-np.sin(turn / 2), np.cos(turn / 2)])
    assert corner[1] == pytest.approx(distance)
    assert corner @ normal == pytest.approx(distance)


def test_strip_has_the_area_of_its_length_and_width() -> None:
    x, y = strip(CIRCLE[:200], 1.5).T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert area == pytest.approx(arc_length(CIRCLE[:200])[-1] * 3.0, rel=1e-3)


def test_along_gives_points_and_headings() -> None:
    line = np.array([[0.0, 0], [4, 0], [4, 3]])
    points, headings = along(line, np.array([1.0, 5.5]))
    assert np.allclose(points, [[1, 0], [4, 1.5]])
    assert np.allclose(headings, [0, np.pi / 2])


def test_lanes_have_their_kinds_and_lights(road_map: RoadMap) -> None:
    kinds = {lane.kind for lane in road_map.lanes.values()}
    assert {"drive", "sidewalk", "corner"} <= kinds
    for k, signal in enumerate(road_map.signals):
        assert road_map.lanes[signal.lane].signal == k
        assert not road_map.lanes[signal.lane].is_intersection


def test_successors_begin_where_their_lane_ends(road_map: RoadMap) -> None:
    for lane in road_map.of_kind("drive"):
        for name in lane.successors:
            gap = np.linalg.norm(road_map.lanes[name].shape[0] - lane.shape[-1])
            assert gap < 1.2  # lanes of other widths may meet


def test_pavement_is_not_drivable(road_map: RoadMap) -> None:
    shapely = pytest.importorskip("shapely")
    drivable = shapely.union_all(
        [shapely.make_valid(shapely.Polygon(p)) for p in road_map.drivable()]
    )
    assert road_map.pavements
    for outline in road_map.pavements:
        corner = shapely.make_valid(shapely.Polygon(outline))
        assert corner.intersection(drivable).area < 0.05 * corner.area + 0.2


def test_the_record_is_json_and_complete(road_map: RoadMap) -> None:
    record = json.loads(json.dumps(road_map.as_record()))
    assert set(record) == {"lanes", "drivable", "dividers", "crossings"}
    lane = record["lanes"][0]
    assert set(lane) == {"id", "centerline", "width", "successors", "is_intersection"}
    assert np.asarray(lane["centerline"]).shape[1] == 2
    inside = [entry for entry in record["lanes"] if entry["is_intersection"]]
    assert inside and all(entry["successors"] for entry in inside)


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_raster_covers_the_drivable_area_in_any_window(road_map: RoadMap, angle: float) -> None:
    shapely = pytest.importorskip("shapely")
    area = shapely.union_all([shapely.make_valid(shapely.Polygon(p)) for p in road_map.drivable()])
    low = np.array(area.bounds[:2]) - 5
    size = np.array(area.bounds[2:]) + 5 - low
    R = rotation_z(angle)
    centre = low + size / 2
    reach = np.linalg.norm(size)
    origin = centre - R[:2, :2] @ np.full(2, reach / 2)
    n = int(reach / 0.25)
    layers = rasterise(road_map, pose(R, (*origin, 0)), n, n, 0.25)
    assert layers["drivable"].sum() * 0.25**2 == pytest.approx(area.area, rel=0.03)
    assert 0 < layers["crossings"].sum() < layers["drivable"].sum()
    assert layers["lane_dividers"].any()
