"""Point clouds, as the distribution's sensor_msgs_py.point_cloud2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from ros_xai.ros import pointclouds


def read_points(
    cloud: PointCloud2, field_names: Sequence[str] | None = None, skip_nans: bool = False
) -> NDArray[Any]:
    """Structured array [N] of the points, of all fields or of some; without NaNs if wanted."""
    points = pointclouds.to_structured(cloud).reshape(-1)
    if field_names is not None:
        points = points[list(field_names)]
    if skip_nans and not cloud.is_dense:
        columns = [points[name] for name in points.dtype.names or ()]
        points = points[~np.logical_or.reduce([np.isnan(column) for column in columns])]
    return points


def read_points_numpy(
    cloud: PointCloud2, field_names: Sequence[str] | None = None, skip_nans: bool = False
) -> NDArray[Any]:
    """Array [N,F] of fields that share one datatype."""
    return structured_to_unstructured(read_points(cloud, field_names, skip_nans))


def create_cloud(
    header: Any, fields: Sequence[PointField], points: Iterable[Any], point_step: int | None = None
) -> PointCloud2:
    """A cloud of structured points, of an array [N,F], or of one tuple a point.

    Raises:
        ValueError: structured points of another layout than `fields` say.
    """
    end = max(f.offset + f.count * pointclouds.DATATYPES[f.datatype].itemsize for f in fields)
    dtype = pointclouds.dtype_of(fields, point_step or end, big_endian=False)
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points], dtype)
    elif points.dtype.names is None:
        points = unstructured_to_structured(points, dtype)
    elif points.dtype != dtype:
        raise ValueError(f"expected points of {dtype}, as the fields say; got {points.dtype}")
    return pointclouds.to_message(points, header)


def create_cloud_xyz32(header: Any, points: Iterable[Any]) -> PointCloud2:
    """A cloud of float32 x, y, z."""
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    return create_cloud(header, fields, points)
