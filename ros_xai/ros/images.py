"""sensor_msgs/Image and CompressedImage to and from arrays."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from ros_xai.ros.buffers import to_bytes
from ros_xai.ros.errors import MessageError

# encoding -> (dtype of a channel, channels), as sensor_msgs/image_encodings.hpp names them
ENCODINGS: dict[str, tuple[np.dtype[Any], int]] = {
    "rgb8": (np.dtype(np.uint8), 3),
    "bgr8": (np.dtype(np.uint8), 3),
    "rgba8": (np.dtype(np.uint8), 4),
    "bgra8": (np.dtype(np.uint8), 4),
    "mono8": (np.dtype(np.uint8), 1),
    "mono16": (np.dtype(np.uint16), 1),
    "8UC1": (np.dtype(np.uint8), 1),
    "8UC3": (np.dtype(np.uint8), 3),
    "16UC1": (np.dtype(np.uint16), 1),
    "32FC1": (np.dtype(np.float32), 1),
}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
}

_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# Far above any camera; a header with wrong bytes must not make OpenCV allocate gigabytes.
_MAX_PIXELS = 2**26


def _layout(encoding: str) -> tuple[np.dtype[Any], int]:
    if encoding not in ENCODINGS:
        raise MessageError(
            "encoding", f"expected encoding one of {', '.join(ENCODINGS)}; got {encoding!r}"
        )
    return ENCODINGS[encoding]


def to_array(message: Image) -> NDArray[Any]:
    """The pixels [H,W] or [H,W,C] of an Image, in the channel order of its encoding.

    A view of the message's buffer, row padding skipped by strides; only 16 and 32 bit pixels of the
    other endianness are copied, into native order.

    Raises:
        MessageError: `encoding` is not in `ENCODINGS`; `empty_image`, no pixels; `bad_step`, rows
            shorter than their pixels; `truncated_data`, fewer bytes than the size asks for.
    """
    dtype, channels = _layout(message.encoding)
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise MessageError("empty_image", f"expected an image with pixels; got {width}x{height}")
    row = width * channels * dtype.itemsize
    if step < row:
        raise MessageError(
            "bad_step",
            f"expected step >= {row} bytes for {width} pixels of {message.encoding}; got {step}",
        )
    needed = step * (height - 1) + row
    if len(message.data) < needed:
        raise MessageError(
            "truncated_data",
            f"expected {needed} bytes for {width}x{height} {message.encoding} of step {step}; "
            f"got {len(message.data)}",
        )
    stored = dtype.newbyteorder(">" if message.is_bigendian else "<")
    pixels: NDArray[Any] = np.ndarray(
        shape=(height, width, channels),
        dtype=stored,
        buffer=message.data,
        strides=(step, channels * dtype.itemsize, dtype.itemsize),
    )
    if channels == 1:
        pixels = pixels[..., 0]
    return pixels.astype(dtype, copy=False)


def to_rgb(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """Red, green and blue uint8 [H,W,3] of an 8-bit Image, or of a JPEG or PNG CompressedImage.

    An rgb8 Image gives a view of the message's buffer. Grey is repeated over the channels, alpha is
    dropped, and an orientation noted in a JPEG is ignored: the calibration is of the sensor.

    Raises:
        MessageError: as `to_array`; `encoding` also for images whose colours are unknown here;
            `compressed_data`, the file is cut off or not one OpenCV reads.
    """
    if isinstance(message, CompressedImage):
        return _decompress(message)
    encoding = message.encoding
    if encoding != "rgb8" and encoding not in _TO_RGB:
        raise MessageError(
            "encoding",
            f"expected encoding one of rgb8, {', '.join(_TO_RGB)}; "
            f"got {encoding!r}{_advice(encoding)}",
        )
    pixels = to_array(message)
    return pixels if encoding == "rgb8" else _array(cv2.cvtColor(pixels, _TO_RGB[encoding]))


def _advice(encoding: str) -> str:
    if encoding.startswith("bayer"):
        return "; put image_proc's debayer node in front and use its image_color"
    if encoding == "8UC3":
        return ", which does not tell the order of the channels; publish rgb8 or bgr8"
    return ""


def _decompress(message: CompressedImage) -> NDArray[np.uint8]:
    data = bytes(message.data)
    if not data:
        raise MessageError("empty_image", "expected a JPEG or PNG file; got no data")
    if "compressedDepth" in message.format:
        raise MessageError(
            "encoding", f"expected jpeg or png colours; got {message.format!r}, a depth image"
        )
    # OpenCV fills what is missing of a cut-off file with grey and says so on stderr only.
    if not _is_whole(data):
        raise MessageError(
            "compressed_data",
            f"expected a whole JPEG or PNG file; got {len(data)} bytes that are none "
            f"(format {message.format!r})",
        )
    if data.startswith(_PNG_START) and data[24:25] == b"\x10":
        raise MessageError(
            "encoding",
            f"expected 8 bits a channel; got a PNG of 16 bits (format {message.format!r}): a depth "
            "image, or one to be published as rgb8, bgr8 or mono8",
        )
    height, width = _size(data)
    if not 0 < height * width <= _MAX_PIXELS:
        raise MessageError(
            "compressed_data", f"expected 1 to {_MAX_PIXELS} pixels; the file says {width}x{height}"
        )
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise MessageError("compressed_data", f"OpenCV refuses the file: {error.err}") from error
    if bgr is None:
        raise MessageError(
            "compressed_data",
            f"expected a JPEG or PNG file; got {len(data)} bytes that OpenCV cannot read",
        )
    return _array(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _is_whole(data: bytes) -> bool:
    """Whether a JPEG's last scan is closed (its data cannot hold a marker), or a PNG is intact."""
    if data.startswith(_JPEG_START):
        start_of_scan, end_of_image = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
        return 0 < start_of_scan < end_of_image
    return data.startswith(_PNG_START) and _chunks_are_intact(data)


def _chunks_are_intact(data: bytes) -> bool:
    """Checksums of a PNG's chunks, IHDR to IEND: OpenCV allocates what a wrong length asks for."""
    position = len(_PNG_START)
    if data[position + 4 : position + 8] != b"IHDR":
        return False
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[position + 4 : end])):
            return False
        if kind == b"IEND":
            return True
        position = end + 4
    return False


def _size(data: bytes) -> tuple[int, int]:
    """Height and width of a PNG, or of a JPEG's first frame; (0, 0) of a JPEG without one."""
    if not data.startswith(_JPEG_START):
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    position = 2
    while position + 9 <= len(data):
        marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        # SOF0 to SOF15 but for DHT, JPG and DAC, which lie in the same range
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        position += 2 + length
    return 0, 0


def to_message(pixels: NDArray[Any], encoding: str, header: Any = None) -> Image:
    """An Image of pixels [H,W] or [H,W,C] without row padding, little-endian.

    Raises:
        MessageError: `encoding` is unknown, or the array's dtype or shape is not that encoding's;
            `empty_image`, no pixels.
    """
    dtype, channels = _layout(encoding)
    shape = pixels.shape if pixels.ndim == 3 else (*pixels.shape, 1)
    if len(shape) != 3 or shape[2] != channels or pixels.dtype.newbyteorder("=") != dtype:
        raise MessageError(
            "encoding",
            f"expected {dtype} [H,W,{channels}] for {encoding}; "
            f"got {pixels.dtype} {list(pixels.shape)}",
        )
    if pixels.size == 0:
        raise MessageError("empty_image", f"expected pixels; got shape {list(pixels.shape)}")
    message = Image()
    if header is not None:
        message.header = header
    message.height, message.width = shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = shape[1] * channels * dtype.itemsize
    message.data = to_bytes(np.ascontiguousarray(pixels, dtype=dtype.newbyteorder("<")))
    return message


def compress(
    pixels: NDArray[np.uint8],
    format: Literal["jpeg", "png"] = "jpeg",
    quality: int = 90,
    header: Any = None,
) -> CompressedImage:
    """A CompressedImage of rgb [H,W,3] or grey [H,W] uint8; `quality` 0..100 is the JPEG's.

    Raises:
        MessageError: `encoding`, another dtype or shape; `empty_image`, no pixels.
    """
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2:
        raise MessageError(
            "encoding",
            f"expected uint8 [H,W,3] or [H,W]; got {pixels.dtype} {list(pixels.shape)}",
        )
    if pixels.size == 0:
        raise MessageError("empty_image", f"expected pixels; got shape {list(pixels.shape)}")
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if format == "jpeg" else []
    _, encoded = cv2.imencode(f".{format}", bgr, parameters)
    message = CompressedImage()
    if header is not None:
        message.header = header
    message.format = format
    message.data = to_bytes(encoded)
    return message


def _array(image: Any) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)
