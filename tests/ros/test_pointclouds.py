"""Clouds: points packed one by one with `struct` in any layout, round trips, and refusals."""

from __future__ import annotations

import array
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from ros_xai.ros import pointclouds
from ros_xai.ros.errors import MessageError

# PointField datatype -> (struct code, bytes), from the comments of sensor_msgs/PointField
CODES = {
    1: ("b", 1),
    2: ("B", 1),
    3: ("h", 2),
    4: ("H", 2),
    5: ("i", 4),
    6: ("I", 4),
    7: ("f", 4),
    8: ("d", 8),
}


def field(name: str, offset: int, datatype: int = PointField.FLOAT32, count: int = 1) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


def values_of(datatype: int) -> st.SearchStrategy[Any]:
    code, size = CODES[datatype]
    if code in "fd":
        return st.floats(width=8 * size, allow_nan=False)
    low = -(256**size) // 2 if code.islower() else 0
    return st.integers(low, low + 256**size - 1)


@st.composite
def clouds(draw: st.DrawFn) -> tuple[PointCloud2, dict[str, Any]]:
    """A cloud of shuffled fields with gaps, padded points and rows, and the values packed in it."""
    names = draw(st.permutations(["x", "y", "z", "intensity", "ring", "t"]))
    names = names[: draw(st.integers(1, 6))]
    fields, offset = [], 0
    for name in names:
        offset += draw(st.integers(0, 5))
        datatype, count = draw(st.sampled_from(list(CODES))), draw(st.sampled_from([1, 1, 3]))
        fields.append(field(name, offset, datatype, count))
        offset += CODES[datatype][1] * count
    point_step = offset + draw(st.integers(0, 7))
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    row_step = width * point_step + draw(st.integers(0, 9))
    big_endian = draw(st.booleans())
    data = bytearray(draw(st.binary(min_size=height * row_step, max_size=height * row_step)))
    values: dict[str, Any] = {}
    for f in draw(st.permutations(fields)):
        code = CODES[f.datatype][0]
        shape, total = (height, width, f.count), height * width * f.count
        numbers = draw(st.lists(values_of(f.datatype), min_size=total, max_size=total))
        for i in range(height * width):
            start = (i // width) * row_step + (i % width) * point_step + f.offset
            chunk = numbers[i * f.count : (i + 1) * f.count]
            struct.pack_into((">" if big_endian else "<") + code * f.count, data, start, *chunk)
        values[f.name] = np.array(numbers).reshape(shape if f.count > 1 else shape[:2])
    message = PointCloud2(
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big_endian,
        point_step=point_step,
        row_step=row_step,
        data=array.array("B", bytes(data)),
    )
    return message, values


@settings(deadline=None)
@given(clouds())
def test_any_layout_reads_what_was_packed(cloud: tuple[PointCloud2, dict[str, Any]]) -> None:
    message, values = cloud
    points = pointclouds.to_structured(message)
    assert set(points.dtype.names or ()) == set(values)
    for name, expected in values.items():
        np.testing.assert_array_equal(points[name], expected if message.height > 1 else expected[0])


@settings(deadline=None)
@given(clouds())
def test_round_trip_keeps_layout_and_values(cloud: tuple[PointCloud2, dict[str, Any]]) -> None:
    message, _ = cloud
    points = pointclouds.to_structured(message)
    header = Header(frame_id="lidar")
    again = pointclouds.to_message(points, header)
    assert (again.header, again.point_step) == (header, message.point_step)
    assert (again.height, again.width) == (message.height, message.width)
    assert sorted(again.fields, key=lambda f: f.name) == sorted(
        message.fields, key=lambda f: f.name
    )
    read = pointclouds.to_structured(again)
    for name in points.dtype.names or ():
        np.testing.assert_array_equal(read[name], points[name])


def xyz_cloud(points: list[tuple[float, ...]], **fields: Any) -> PointCloud2:
    return pointclouds.to_message(np.array(points, np.float32), Header(), **fields)


def test_the_array_is_a_view_of_the_buffer() -> None:
    message = xyz_cloud([(1, 2, 3), (4, 5, 6)])
    points = pointclouds.to_structured(message)
    struct.pack_into("<f", message.data, 12 + 4, 50.0)
    assert points["y"].tolist() == [2, 50]


def test_coordinates_and_extra_fields_are_packed_without_gaps() -> None:
    ring = np.array([7, 9], np.uint16)
    message = xyz_cloud([(1, 2, 3), (4, 5, 6)], intensity=np.array([0.5, 1], np.float32), ring=ring)
    assert bytes(message.data) == struct.pack("<4fH4fH", 1, 2, 3, 0.5, 7, 4, 5, 6, 1, 9)
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
        ("intensity", 12, 7, 1),
        ("ring", 16, 4, 1),
    ]
    assert (message.point_step, message.row_step, message.is_dense) == (18, 36, True)


def test_gaps_of_a_copy_are_zero() -> None:
    dtype = np.dtype({"names": ["x"], "formats": [">f4"], "offsets": [4], "itemsize": 12})
    points = np.ones(3, dtype)
    data = bytes(pointclouds.to_message(points).data)
    assert data == struct.pack("<3f", 0, 1, 0) * 3


def test_points_that_are_not_finite_are_reported_and_kept() -> None:
    points = [(1, 2, 3), (np.nan, 0, 0), (0, np.inf, 0), (0, 0, -np.inf), (4, 5, 6)]
    message = xyz_cloud(points)
    xyz, valid = pointclouds.xyz(pointclouds.to_structured(message))
    np.testing.assert_array_equal(xyz, np.array(points, np.float32))
    assert valid.tolist() == [True, False, False, False, True]
    assert not message.is_dense


def test_points_in_the_very_origin_are_no_returns() -> None:
    points = [(0, 0, 0), (0, 0, 1e-3), (-0.0, 0, -0.0), (0, 2, 0), (3, 0, 0)]
    xyz, valid = pointclouds.xyz(pointclouds.to_structured(xyz_cloud(points)))
    np.testing.assert_array_equal(xyz, np.array(points, np.float32))
    assert valid.tolist() == [False, True, False, True, True]


def test_doubles_that_float32_cannot_hold_are_not_valid() -> None:
    points = np.zeros(2, [("x", "f8"), ("y", "f8"), ("z", "f8")])
    points["y"] = [1e300, 0.1]
    xyz, valid = pointclouds.xyz(points)
    assert valid.tolist() == [False, True]
    assert xyz[1, 1] == np.float32(0.1)


def test_organised_big_endian_doubles_come_row_by_row() -> None:
    data = b"".join(struct.pack(">3d", i, 10 * i, 100 * i) for i in range(6))
    rows = data[: 3 * 24] + b"pad!" + data[3 * 24 :]
    fields = [field(name, 8 * i, PointField.FLOAT64) for i, name in enumerate("xyz")]
    message = PointCloud2(height=2, width=3, point_step=24, row_step=76, is_bigendian=True)
    message.fields, message.data = fields, array.array("B", rows)
    points = pointclouds.to_structured(message)
    assert points.shape == (2, 3)
    xyz, _ = pointclouds.xyz(points)
    assert xyz.dtype == np.dtype(np.float32)
    assert xyz.dtype.isnative
    np.testing.assert_array_equal(xyz, [[i, 10 * i, 100 * i] for i in range(6)])


@pytest.mark.parametrize("name", ["ring", "line", "channel"])
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4"])
def test_rings_under_the_names_and_types_of_drivers(name: str, dtype: str) -> None:
    points = np.zeros(3, [("x", "f4"), (name, dtype)])
    points[name] = [0, 63, 5]
    ring = pointclouds.ring(points)
    assert ring is not None
    assert ring.dtype == np.dtype(np.int64)
    assert ring.tolist() == [0, 63, 5]


def test_a_ring_that_is_not_a_number_is_none_of_the_beams() -> None:
    for dtype in ("f4", ">f8"):
        points = np.zeros(5, [("ring", dtype)])
        points["ring"] = [np.nan, 2, np.inf, 1e30, -np.inf]
        assert pointclouds.ring(points).tolist() == [-1, 2, -1, -1, -1]  # type: ignore[union-attr]


def test_a_cloud_without_ring_has_none() -> None:
    assert pointclouds.ring(np.zeros(3, [("x", "f4"), ("intensity", "f4")])) is None


def test_an_empty_cloud_is_empty_and_no_error() -> None:
    message = xyz_cloud([(1, 2, 3)])
    message.width, message.row_step, message.data = 0, 0, array.array("B")
    xyz, valid = pointclouds.xyz(pointclouds.to_structured(message))
    assert (xyz.shape, valid.shape) == ((0, 3), (0,))
    again = pointclouds.to_message(pointclouds.to_structured(message))
    assert (again.width, len(again.data), len(again.fields)) == (0, 0, 3)


def test_pcls_padding_fields_and_counts_of_zero() -> None:
    message = xyz_cloud([(1, 2, 3)])
    for f in message.fields:
        f.count = 0
    message.fields = [field("_", 0), *message.fields, field("_", 4), field("", 8)]
    xyz, _ = pointclouds.xyz(pointclouds.to_structured(message))
    assert xyz.tolist() == [[1, 2, 3]]


def test_the_row_step_of_a_single_row_does_not_matter() -> None:
    message = xyz_cloud([(1, 2, 3), (4, 5, 6)])
    message.row_step = 0
    assert pointclouds.to_structured(message)["z"].tolist() == [3, 6]


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"data": array.array("B", bytes(23))}, "truncated_data", "expected 24 bytes.*got 23"),
        ({"width": 2**32 - 1}, "truncated_data", "got 24"),
        ({"height": 3}, "truncated_data", "got 24"),
        ({"height": 3, "row_step": 23}, "bad_step", "row_step >= 24"),
        ({"point_step": 11}, "bad_field", "'z' ends at 12"),
        ({"point_step": 2**31}, "bad_step", "point_step of 1 to"),
        ({"point_step": 0, "fields": []}, "bad_step", "1 to .* got 0"),
        ({"fields": [field("x", 0, 9)]}, "bad_field", "1 to 8 for field 'x'; got 9"),
        ({"fields": [field("x", 0, 0)]}, "bad_field", "got 0"),
        ({"fields": [field("x", 0), field("x", 4)]}, "bad_field", "'x' twice"),
        ({"fields": [field("x", 2**32 - 1)]}, "bad_field", "within the point_step"),
        ({"fields": [field("x", 0, 7, 2**32 - 1)]}, "bad_field", "within the point_step"),
    ],
)
def test_what_cannot_be_a_cloud_says_why(fields: dict[str, Any], reason: str, text: str) -> None:
    message = xyz_cloud([(1, 2, 3), (4, 5, 6)])
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=text) as caught:
        pointclouds.to_structured(message)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "dtype", [[("x", "f4"), ("y", "f4")], [("x", "f4"), ("y", "f4"), ("z", "f4", (2,))]]
)
def test_coordinates_must_be_three_numbers(dtype: Any) -> None:
    with pytest.raises(MessageError, match="fields x, y and z") as caught:
        pointclouds.xyz(np.zeros(3, dtype))
    assert caught.value.reason == "bad_field"


@pytest.mark.parametrize(
    ("points", "fields", "text"),
    [
        (np.zeros((2, 4)), {}, r"xyz \[N,3\]"),
        (np.zeros((2, 3)), {"ring": np.zeros(3, np.uint8)}, "expected 2 values of 'ring'"),
        (np.zeros((2, 3)), {"stamp": np.zeros(2, np.int64)}, "'stamp' of int64"),
        (np.zeros(2, [("m", "f4", (2, 2))]), {}, "'m' of"),
        (np.zeros(2, [("x", "f4")]), {"y": np.zeros(2, np.float32)}, "xyz|coordinates"),
    ],
)
def test_arrays_that_are_no_cloud_are_refused(points: Any, fields: Any, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        pointclouds.to_message(points, **fields)


def median_time(function: Any, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def test_at_least_ten_times_faster_than_a_loop_of_struct() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20_000, 3)).astype(np.float32)
    message = pointclouds.to_message(
        points, intensity=points[:, 0], ring=np.zeros(20_000, np.uint16)
    )

    def ours() -> Any:
        return pointclouds.xyz(pointclouds.to_structured(message))[0]

    def loop() -> list[tuple[float, ...]]:
        data, step = bytes(message.data), message.point_step
        return [struct.unpack_from("<3f", data, i * step) for i in range(message.width)]

    np.testing.assert_array_equal(ours(), np.array(loop(), np.float32))
    assert median_time(loop, 7) > 10 * median_time(ours, 7)
