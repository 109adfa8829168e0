"""Points as the drivers of common LiDARs lay them out, packed with `struct` by their headers."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField

from ros_xai.core.pointcloud import rings_from_elevation
from ros_xai.ros import pointclouds

F32, F64 = PointField.FLOAT32, PointField.FLOAT64
U8, U16, U32 = PointField.UINT8, PointField.UINT16, PointField.UINT32
XYZ = [("x", 0, F32), ("y", 4, F32), ("z", 8, F32)]


class Layout(NamedTuple):
    """Fields (name, offset, datatype), bytes of a point, and how `struct` packs it."""

    fields: list[tuple[str, int, int]]
    step: int
    code: str
    ring_at: int | None  # place of the ring among the values behind x y z
    rest: tuple[Any, ...]  # those values


LAYOUTS = {
    # velodyne_pointcloud's PointXYZIRT
    "velodyne": Layout(
        [*XYZ, ("intensity", 12, F32), ("ring", 16, U16), ("time", 18, F32)],
        22,
        "<ffffHf",
        1,
        (0.5, 0, 0.01),
    ),
    # ouster_ros' Point, padded to 48 bytes for PCL, rows of one beam each
    "ouster": Layout(
        [
            *XYZ,
            ("intensity", 16, F32),
            ("t", 20, U32),
            ("reflectivity", 24, U16),
            ("ring", 26, U16),
            ("ambient", 28, U16),
            ("range", 32, U32),
        ],
        48,
        "<fff4xfIHHH2xI12x",
        3,
        (7.0, 123, 4, 0, 5, 9000),
    ),
    # livox_ros_driver2's LivoxPointXyzrtlt
    "livox": Layout(
        [
            *XYZ,
            ("intensity", 12, F32),
            ("tag", 16, U8),
            ("line", 17, U8),
            ("timestamp", 18, F64),
        ],
        26,
        "<ffffBBd",
        2,
        (80.0, 16, 0, 1.7e18),
    ),
    # HesaiLidar_ROS_2.0's PointXYZIRT
    "hesai": Layout(
        [*XYZ, ("intensity", 12, F32), ("ring", 16, U16), ("timestamp", 18, F64)],
        26,
        "<ffffHd",
        1,
        (12.0, 0, 1.7e9),
    ),
    # Autoware's PointXYZIRC
    "autoware": Layout(
        [*XYZ, ("intensity", 12, U8), ("return_type", 13, U8), ("channel", 14, U16)],
        16,
        "<fffBBH",
        2,
        (200, 1, 0),
    ),
    # PointXYZI of pcl_ros: the fourth float of x y z is padding, no ring
    "pcl": Layout([*XYZ, ("intensity", 16, F32)], 32, "<fff4xf12x", None, (3.0,)),
}


def scan(rows: int = 4, columns: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Points of evenly spaced beams, row 0 on top, and their rows."""
    azimuth, row = np.meshgrid(np.radians(np.linspace(-60, 60, columns)), np.arange(rows))
    elevation = np.radians(10 - 5 * row)
    xyz = 20 * np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=-1,
    )
    return xyz.reshape(-1, 3).astype(np.float32), row.ravel()


def packed(layout: Layout, xyz: np.ndarray, row: np.ndarray, organised: bool) -> PointCloud2:
    assert struct.calcsize(layout.code) == layout.step
    points = []
    for place, ring in zip(xyz.tolist(), row.tolist()):
        rest = list(layout.rest)
        if layout.ring_at is not None:
            rest[layout.ring_at] = ring
        points.append(struct.pack(layout.code, *place, *rest))
    height = row.max() + 1 if organised else 1
    width = len(row) // height
    return PointCloud2(
        height=int(height),
        width=int(width),
        fields=[PointField(name=n, offset=o, datatype=t, count=1) for n, o, t in layout.fields],
        point_step=layout.step,
        row_step=layout.step * int(width),
        data=b"".join(points),
        is_dense=True,
    )


@pytest.mark.parametrize("organised", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_coordinates_and_beams_are_read_from_every_drivers_points(name, organised):
    xyz, row = scan()
    structured = pointclouds.to_structured(packed(LAYOUTS[name], xyz, row, organised))
    found, finite = pointclouds.xyz(structured)
    np.testing.assert_array_equal(found, xyz)
    assert finite.all()
    ring = pointclouds.ring(structured)
    if LAYOUTS[name].ring_at is None:
        assert ring is None
        ring = rings_from_elevation(found, 4)
    np.testing.assert_array_equal(ring, row)
