"""sensor_msgs/PointCloud2 to and from structured arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from ros_xai.core.camera import back_project
from ros_xai.ros.buffers import to_bytes
from ros_xai.ros.errors import MessageError

DATATYPES: dict[int, np.dtype[Any]] = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}
_CODES = {dtype: code for code, dtype in DATATYPES.items()}
# What drivers call the beam: Velodyne, Ouster and Hesai; Livox; Autoware's PointXYZIRC.
RING_NAMES = ("ring", "line", "channel", "ring_id", "beam")
# Names that PCL gives to padding, often several times in a cloud.
_PADDING = ("", "_")


def dtype_of(fields: Iterable[PointField], point_step: int, big_endian: bool) -> np.dtype[Any]:
    """The structured dtype of a point, `point_step` bytes long; padding fields are left out.

    A count of 0 means 1, as in PCL.

    Raises:
        MessageError: `bad_field`, an unknown datatype, a name used twice, or a field that
            leaves the point.
    """
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    for field in fields:
        if field.name in _PADDING:
            continue
        if field.datatype not in DATATYPES:
            raise MessageError(
                "bad_field",
                f"expected a datatype of 1 to 8 for field {field.name!r}; got {field.datatype}",
            )
        if field.name in names:
            raise MessageError("bad_field", f"expected every field once; got {field.name!r} twice")
        scalar = DATATYPES[field.datatype].newbyteorder(">" if big_endian else "<")
        count = max(field.count, 1)
        end = field.offset + count * scalar.itemsize
        if end > point_step:
            raise MessageError(
                "bad_field",
                f"expected fields within the point_step of {point_step} bytes; "
                f"{field.name!r} ends at {end}",
            )
        names.append(field.name)
        formats.append(scalar if count == 1 else (scalar, (count,)))
        offsets.append(field.offset)
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": point_step}
    )


def to_structured(message: PointCloud2) -> NDArray[Any]:
    """The points as a structured array [width], or [height, width] of an organised cloud.

    Always a view of the message's buffer: padding is skipped by strides, and fields of the other
    endianness are read as such. An empty cloud gives an empty array.

    Raises:
        MessageError: `bad_field` as `dtype_of`; `bad_step`, points or rows that overlap;
            `truncated_data`, fewer bytes than the size asks for.
    """
    height, width = message.height, message.width
    point_step, row_step = message.point_step, message.row_step
    # numpy holds the size of a dtype in a C int
    if point_step >= 2**31 or (point_step == 0 and height * width > 0):
        raise MessageError(
            "bad_step",
            f"expected a point_step of 1 to 2^31 - 1 for {width}x{height} points; got {point_step}",
        )
    dtype = dtype_of(message.fields, point_step, bool(message.is_bigendian))
    row = width * point_step
    # Of a single row the row_step says nothing, and many drivers leave it 0 or wrong.
    if height > 1 and row_step < row:
        raise MessageError(
            "bad_step",
            f"expected row_step >= {row} bytes for {width} points of {point_step}; got {row_step}",
        )
    needed = (row_step * (height - 1) + row) if height * width > 0 else 0
    if len(message.data) < needed:
        raise MessageError(
            "truncated_data",
            f"expected {needed} bytes for {width}x{height} points of {point_step} bytes; "
            f"got {len(message.data)}",
        )
    if needed == 0:
        return np.empty(0, dtype)
    points: NDArray[Any] = np.ndarray(
        shape=(height, width), dtype=dtype, buffer=message.data, strides=(row_step, point_step)
    )
    return points if height > 1 else points[0]


def xyz(structured: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Coordinates float32 [N,3] of all points, and the mask [N] of those that are returns.

    Units and frame are the message's (metres in `header.frame_id` by REP-103). No return is what is
    not finite, coordinates that float32 cannot hold included, and what lies in the very origin:
    many drivers put there what the beam did not hit.

    Raises:
        MessageError: `bad_field`, x, y or z is missing or not one number.
    """
    flat = structured.reshape(-1)
    points = np.empty((len(flat), 3), np.float32)
    valid, away = np.ones(len(flat), np.bool_), np.zeros(len(flat), np.bool_)
    for axis, name in enumerate("xyz"):
        if name not in (flat.dtype.names or ()) or flat.dtype[name].shape:
            raise MessageError(
                "bad_field",
                f"expected fields x, y and z of one number each; got {_described(flat.dtype)}",
            )
        with np.errstate(over="ignore"):
            points[:, axis] = flat[name]
        valid &= np.isfinite(points[:, axis])
        away |= points[:, axis] != 0
    return points, valid & away


def ring(structured: NDArray[Any]) -> NDArray[np.int64] | None:
    """Beam number int64 [N] as the driver counts it (-1: none); None without the field."""
    flat = structured.reshape(-1)
    for name in RING_NAMES:
        if name in (flat.dtype.names or ()) and not flat.dtype[name].shape:
            beams = flat[name]
            if beams.dtype.kind == "f":  # what no integer holds would be cast to any number
                beams = np.where(np.abs(beams) < 2**31, beams, -1)
            return beams.astype(np.int64)
    return None


def to_message(points: NDArray[Any], header: Any = None, **fields: NDArray[Any]) -> PointCloud2:
    """A little-endian PointCloud2 without row padding.

    `points` is a structured array [N] or [H,W], whose layout is kept, or coordinates [N,3], packed
    as float32 and followed by the `fields`, named arrays [N].

    Raises:
        MessageError: `bad_field`, a dtype that PointField does not know, or another length.
    """
    if points.dtype.names is None:
        structured = _packed(points, fields)
    elif not fields:
        structured = points
    else:
        raise MessageError("bad_field", "expected extra fields with coordinates [N,3] only")
    dtype = structured.dtype.newbyteorder("<")
    message = PointCloud2()
    if header is not None:
        message.header = header
    message.height, message.width = (1, *structured.shape)[-2:]
    message.fields = [_field(name, dtype) for name in dtype.names or ()]
    message.is_bigendian = False
    message.point_step = dtype.itemsize
    message.row_step = dtype.itemsize * message.width
    message.data = to_bytes(_contiguous(structured, dtype))
    message.is_dense = all(
        bool(np.isfinite(structured[name]).all())
        for name in dtype.names or ()
        if dtype[name].base.kind == "f"
    )
    return message


def coloured(
    depth: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    stride: int,
    header: Any,
) -> PointCloud2:
    """The known depths as points x y z (m, optical frame), with colours packed in a float as RViz
    and PCL expect them.

    depth: [H,W] m, NaN unknown; rgb: [H,W,3]; intrinsics: [3,3] pixels; of every `stride`-th pixel
    of every `stride`-th row.
    """
    K = intrinsics.copy()
    K[:2] /= stride  # of an image of every n-th pixel, the first one included
    points = back_project(depth[::stride, ::stride], K).reshape(-1, 3)
    r, g, b = rgb[::stride, ::stride].reshape(-1, 3).astype(np.uint32).T
    known = np.isfinite(points[:, 2])
    packed = (r << 16 | g << 8 | b)[known].view(np.float32)
    return to_message(points[known].astype(np.float32), header, rgb=packed)


def _contiguous(structured: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if structured.dtype == dtype and structured.flags.c_contiguous:
        return structured
    # A copy made by numpy leaves the gaps between fields as it finds them in memory.
    copy = np.zeros(structured.shape, dtype)
    copy[...] = structured
    return copy


def _packed(points: NDArray[Any], fields: dict[str, NDArray[Any]]) -> NDArray[Any]:
    if points.ndim != 2 or points.shape[1] != 3:
        raise MessageError(
            "bad_field", f"expected a structured array or xyz [N,3]; got {list(points.shape)}"
        )
    layout = [(name, np.dtype(np.float32)) for name in "xyz"]
    layout += [(name, values.dtype) for name, values in fields.items()]
    packed = np.empty(len(points), np.dtype(layout))
    for axis, name in enumerate("xyz"):
        packed[name] = points[:, axis]
    for name, values in fields.items():
        if values.shape != (len(points),):
            raise MessageError(
                "bad_field",
                f"expected {len(points)} values of {name!r}; got shape {list(values.shape)}",
            )
        packed[name] = values
    return packed


def _field(name: str, dtype: np.dtype[Any]) -> PointField:
    fields: Any = dtype.fields
    field_dtype, offset = fields[name][:2]
    code = _CODES.get(field_dtype.base.newbyteorder("="))
    if code is None or field_dtype.ndim > 1:
        raise MessageError(
            "bad_field",
            f"expected {', '.join(map(str, _CODES))} or a row of one of them; "
            f"got {name!r} of {field_dtype}",
        )
    count = field_dtype.shape[0] if field_dtype.ndim else 1
    return PointField(name=name, offset=offset, datatype=code, count=count)


def _described(dtype: np.dtype[Any]) -> str:
    return ", ".join(f"{name} {dtype[name]}" for name in dtype.names or ()) or "no fields"
