"""What the distribution's sensor_msgs_py.point_cloud2 and our equivalent both promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from ros_xai.ros import pointclouds

XYZ = [(1.0, 2.0, 3.0), (float("nan"), 5.0, 6.0), (7.0, 8.0, 9.0)]


def fields_of(*names: str) -> list[PointField]:
    return [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(names)
    ]


@pytest.mark.parametrize("points", [XYZ, np.array(XYZ, np.float32)], ids=["list", "array"])
def test_xyz32_clouds(point_cloud2: Any, points: Any) -> None:
    cloud = point_cloud2.create_cloud_xyz32(Header(frame_id="lidar"), points)
    assert cloud.header.frame_id == "lidar"
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 3, 12, 36)
    assert cloud.fields == fields_of("x", "y", "z")
    assert bytes(cloud.data) == np.array(XYZ, "<f4").tobytes()


def test_clouds_of_structured_points_and_of_tuples_are_equal(point_cloud2: Any) -> None:
    fields = [*fields_of("x", "y"), PointField(name="ring", offset=8, datatype=4, count=1)]
    tuples = [(1.5, -2.0, 7), (0.0, 4.0, 65535)]
    structured = np.array(tuples, [("x", "f4"), ("y", "f4"), ("ring", "u2")])
    clouds = [point_cloud2.create_cloud(Header(), fields, p) for p in (tuples, structured)]
    assert bytes(clouds[0].data) == bytes(clouds[1].data) == structured.tobytes()
    assert [list(c.fields) for c in clouds] == [fields, fields]


def test_structured_points_must_have_the_layout_of_the_fields(point_cloud2: Any) -> None:
    with pytest.raises((ValueError, AssertionError)):
        point_cloud2.create_cloud(Header(), fields_of("x", "y"), np.zeros(2, [("x", "f4")]))


def test_a_larger_point_step_pads(point_cloud2: Any) -> None:
    cloud = point_cloud2.create_cloud(
        Header(), fields_of("x", "y"), [(1, 2), (3, 4)], point_step=16
    )
    assert (cloud.point_step, len(cloud.data)) == (16, 32)
    assert np.frombuffer(cloud.data, "<f4").reshape(2, 4)[:, :2].tolist() == [[1, 2], [3, 4]]


def test_read_points(point_cloud2: Any) -> None:
    cloud = pointclouds.to_message(
        np.array(XYZ, np.float32), Header(), ring=np.array([3, 4, 5], np.uint16)
    )
    assert not cloud.is_dense
    points = point_cloud2.read_points(cloud)
    assert points.dtype.names == ("x", "y", "z", "ring")
    assert points["ring"].tolist() == [3, 4, 5]
    chosen = point_cloud2.read_points(cloud, field_names=["ring", "y"])
    assert (chosen.dtype.names, chosen["y"].tolist()) == (("ring", "y"), [2, 5, 8])
    without_nan = point_cloud2.read_points(cloud, skip_nans=True)
    assert without_nan["ring"].tolist() == [3, 5]
    finite_fields = point_cloud2.read_points(cloud, field_names=["y", "ring"], skip_nans=True)
    assert finite_fields["ring"].tolist() == [3, 4, 5]


def test_read_points_numpy(point_cloud2: Any) -> None:
    cloud = point_cloud2.create_cloud_xyz32(Header(), XYZ)
    everything = point_cloud2.read_points_numpy(cloud)
    np.testing.assert_array_equal(everything, np.array(XYZ, np.float32))
    some = point_cloud2.read_points_numpy(cloud, field_names=["z", "x"], skip_nans=True)
    np.testing.assert_array_equal(some, [[3, 1], [9, 7]])


def test_organised_big_endian_clouds_are_read_flat(point_cloud2: Any) -> None:
    cloud = PointCloud2(height=2, width=2, point_step=8, row_step=16, is_bigendian=True)
    cloud.fields = fields_of("x", "y")
    cloud.data.frombytes(np.arange(8, dtype=">f4").tobytes())
    points = point_cloud2.read_points_numpy(cloud)
    assert points.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
