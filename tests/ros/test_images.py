"""Images: bytes laid out one by one with `struct`, OpenCV, rosbags-image and round trips."""

from __future__ import annotations

import array
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ros_xai.ros import images
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError

# encoding -> (struct code, bytes, channels), from sensor_msgs/image_encodings.hpp
LAYOUTS = {
    "rgb8": ("B", 1, 3),
    "bgr8": ("B", 1, 3),
    "rgba8": ("B", 1, 4),
    "bgra8": ("B", 1, 4),
    "mono8": ("B", 1, 1),
    "mono16": ("H", 2, 1),
    "8UC1": ("B", 1, 1),
    "8UC3": ("B", 1, 3),
    "16UC1": ("H", 2, 1),
    "32FC1": ("f", 4, 1),
}


def message_of(
    values: list[list[list[Any]]], encoding: str, padding: int = 0, big_endian: bool = False
) -> Image:
    """An Image packed value by value: nothing of numpy's or of the module under test."""
    code, size, channels = LAYOUTS[encoding]
    data = bytearray()
    for row in values:
        for pixel in row:
            data += struct.pack(("<>"[big_endian]) + code * channels, *pixel)
        data += b"\xaa" * padding
    width = len(values[0])
    return Image(
        height=len(values),
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=width * channels * size + padding,
        data=array.array("B", bytes(data)),
    )


@st.composite
def pictures(draw: st.DrawFn) -> tuple[str, list[list[list[Any]]]]:
    encoding = draw(st.sampled_from(list(LAYOUTS)))
    code, size, channels = LAYOUTS[encoding]
    value: st.SearchStrategy[Any] = st.integers(0, 256**size - 1)
    if code == "f":
        value = st.floats(width=32, allow_nan=False)
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pixel = st.lists(value, min_size=channels, max_size=channels)
    row = st.lists(pixel, min_size=width, max_size=width)
    return encoding, draw(st.lists(row, min_size=height, max_size=height))


@settings(deadline=None)
@given(pictures(), st.integers(0, 9), st.booleans())
def test_any_padding_and_endianness_reads_what_was_packed(
    picture: tuple[str, list[list[list[Any]]]], padding: int, big_endian: bool
) -> None:
    encoding, values = picture
    message = message_of(values, encoding, padding, big_endian)
    pixels = images.to_array(message)
    expected = np.array(values)
    np.testing.assert_array_equal(pixels, expected[..., 0] if expected.shape[2] == 1 else expected)
    assert pixels.dtype.isnative


@settings(deadline=None)
@given(pictures())
def test_message_round_trip_is_byte_exact(picture: tuple[str, list[list[list[Any]]]]) -> None:
    encoding, values = picture
    packed = message_of(values, encoding)
    header = Header(frame_id="camera_optical")
    message = images.to_message(images.to_array(packed), encoding, header)
    packed.header = header
    assert message == packed


@pytest.mark.parametrize("padding", [0, 2])
def test_the_array_is_a_view_of_the_buffer(padding: int) -> None:
    message = message_of([[[1, 2, 3]], [[4, 5, 6]]], "rgb8", padding)
    pixels = images.to_array(message)
    message.data[3 + padding] = 77
    assert pixels[1, 0].tolist() == [77, 5, 6]


def test_padding_of_the_last_row_may_be_missing() -> None:
    message = message_of([[[1]], [[2]]], "mono8", padding=3)
    message.data = message.data[:5]
    assert images.to_array(message).tolist() == [[1], [2]]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_rgb_agrees_with_rosbags_image(encoding: str) -> None:
    rosbags_image = pytest.importorskip("rosbags.image")
    rng = np.random.default_rng(7)
    channels = LAYOUTS[encoding][2]
    pixels = rng.integers(0, 256, (6, 8, channels), dtype=np.uint8).squeeze()
    message = images.to_message(pixels, encoding)
    np.testing.assert_array_equal(
        images.to_rgb(message), rosbags_image.image_to_cvimage(message, "rgb8")
    )


@pytest.mark.parametrize(
    ("encoding", "pixel", "rgb"),
    [
        ("rgb8", [10, 20, 30], [10, 20, 30]),
        ("bgr8", [10, 20, 30], [30, 20, 10]),
        ("rgba8", [10, 20, 30, 99], [10, 20, 30]),
        ("bgra8", [10, 20, 30, 99], [30, 20, 10]),
        ("mono8", [10], [10, 10, 10]),
        ("8UC1", [10], [10, 10, 10]),
    ],
)
def test_channels_come_in_the_order_red_green_blue(
    encoding: str, pixel: list[int], rgb: list[int]
) -> None:
    message = message_of([[pixel] * 3] * 2, encoding, padding=5)
    assert images.to_rgb(message).tolist() == [[rgb] * 3] * 2


def changed(message: Image, **fields: Any) -> Image:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"encoding": "yuv422"}, "encoding", "got 'yuv422'"),
        ({"encoding": "bayer_rggb8"}, "encoding", "expected encoding one of rgb8"),
        ({"height": 0}, "empty_image", "2x0"),
        ({"width": 0}, "empty_image", "0x2"),
        ({"step": 5}, "bad_step", "step >= 6"),
        ({"step": 0}, "bad_step", "got 0"),
        ({"data": array.array("B", bytes(11))}, "truncated_data", "expected 12 bytes"),
        ({"data": array.array("B")}, "truncated_data", "got 0"),
        ({"height": 2**32 - 1}, "truncated_data", "got 12"),
        ({"width": 2**32 - 1}, "bad_step", "got 6"),
    ],
)
def test_what_cannot_be_an_image_says_why(fields: dict[str, Any], reason: str, text: str) -> None:
    message = changed(message_of([[[1, 2, 3]] * 2] * 2, "rgb8"), **fields)
    with pytest.raises(MessageError, match=text) as caught:
        images.to_array(message)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("encoding", "advice"),
    [("bayer_rggb8", "debayer"), ("8UC3", "order of the channels"), ("16UC1", "16UC1")],
)
def test_colours_that_are_not_known_are_refused(encoding: str, advice: str) -> None:
    message = changed(message_of([[[1, 2, 3]]], "rgb8"), encoding=encoding)
    with pytest.raises(MessageError, match=advice) as caught:
        images.to_rgb(message)
    assert caught.value.reason == "encoding"


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3))]
)
def test_arrays_that_do_not_fit_the_encoding_are_refused(pixels: Any) -> None:
    with pytest.raises(MessageError, match=r"expected uint8 \[H,W,3\]"):
        images.to_message(pixels, "rgb8")


def test_views_and_other_endianness_are_packed_in_order() -> None:
    pixels = np.arange(24, dtype=">u2").reshape(4, 6)[::2, ::3]
    message = images.to_message(pixels, "mono16")
    assert bytes(message.data) == struct.pack("<4H", 0, 3, 12, 15)
    assert (message.height, message.width, message.step) == (2, 2, 4)


def gradient(height: int = 24, width: int = 32) -> Any:
    y, x = np.mgrid[:height, :width]
    return np.stack([8 * x, 10 * y, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def test_png_is_lossless_and_jpeg_close() -> None:
    pixels = gradient()
    np.testing.assert_array_equal(images.to_rgb(images.compress(pixels, "png")), pixels)
    jpeg = images.to_rgb(images.compress(pixels, "jpeg", quality=95)).astype(int)
    assert np.abs(jpeg - pixels).mean() < 2


def test_jpeg_of_grey_and_its_quality() -> None:
    grey = gradient()[..., 0]
    decoded = images.to_rgb(images.compress(grey, "jpeg", 95)).astype(int)
    assert np.abs(decoded - grey[..., None]).mean() < 2
    small, large = (len(images.compress(gradient(), "jpeg", q).data) for q in (10, 95))
    assert small < large


def test_decoding_agrees_with_pillow(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(gradient()).save(tmp_path / "image.jpg", quality=92)
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.data = array.array("B", (tmp_path / "image.jpg").read_bytes())
    reference = np.asarray(pillow.open(tmp_path / "image.jpg").convert("RGB")).astype(int)
    assert np.abs(images.to_rgb(message) - reference).max() <= 3  # IDCTs may round differently


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_files_that_are_cut_off_are_refused(format: Any, share: float) -> None:
    message = images.compress(gradient(), format)
    message.data = message.data[: int(share * len(message.data))]
    with pytest.raises(MessageError) as caught:
        images.to_rgb(message)
    assert caught.value.reason == ("compressed_data" if share else "empty_image")


def test_padding_behind_a_jpeg_is_allowed() -> None:
    message = images.compress(gradient(), "jpeg")
    whole = images.to_rgb(message)
    message.data.extend(bytes(100))
    np.testing.assert_array_equal(images.to_rgb(message), whole)


@pytest.mark.parametrize("end", ["jpeg", "png"])
def test_files_with_nonsense_inside_are_refused(end: Any) -> None:
    message = images.compress(gradient(), end)
    head, tail = (2, b"\xff\xda\xff\xd9") if end == "jpeg" else (8, bytes(message.data[-12:]))
    message.data = message.data[:head] + array.array("B", bytes(50) + tail)
    with pytest.raises(MessageError) as caught:
        images.to_rgb(message)
    assert caught.value.reason == "compressed_data"


@pytest.mark.parametrize("size", [(0, 32), (24, 0), (60_000, 60_000)])
def test_headers_with_absurd_sizes_are_refused(size: tuple[int, int]) -> None:
    for format in ("jpeg", "png"):
        message = images.compress(gradient(), format)
        data = bytearray(message.data)
        if format == "jpeg":
            struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, *size)
        else:
            struct.pack_into(">II", data, 16, *size[::-1])
            struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        message.data = array.array("B", bytes(data))
        with pytest.raises(MessageError, match=f"{size[1]}x{size[0]}"):
            images.to_rgb(message)


@pytest.mark.parametrize("position", [11, 19, 36, 60, -5])
def test_a_png_with_one_wrong_bit_is_refused(position: int) -> None:
    message = images.compress(gradient(), "png")
    message.data[position] ^= 1
    with pytest.raises(MessageError, match="whole JPEG or PNG"):
        images.to_rgb(message)


def test_compressed_depth_is_no_colour_image() -> None:
    message = images.compress(gradient(), "png")
    message.format = "16UC1; compressedDepth png"
    with pytest.raises(MessageError, match="depth image"):
        images.to_rgb(message)


@pytest.mark.parametrize("format", ["16UC1; png compressed ", "rgb16; png compressed bgr16"])
def test_sixteen_bits_are_refused_as_in_raw_images(format: str) -> None:
    pixels = np.full((4, 5) if "UC1" in format else (4, 5, 3), 10_000, np.uint16)
    data = array.array("B", cv2.imencode(".png", pixels)[1].tobytes())
    with pytest.raises(MessageError, match="PNG of 16 bits") as caught:
        images.to_rgb(CompressedImage(format=format, data=data))
    assert caught.value.reason == "encoding"


def test_a_png_without_header_is_refused() -> None:
    message = images.compress(gradient(), "png")
    message.data = message.data[:8] + message.data[-12:]  # its end, with a right checksum
    with pytest.raises(MessageError, match="whole JPEG or PNG"):
        images.to_rgb(message)


def test_a_rotated_jpeg_stays_in_the_sensors_orientation() -> None:
    pillow = pytest.importorskip("PIL.Image")
    exif = pillow.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees to display
    stream = io.BytesIO()
    pillow.fromarray(gradient()).save(stream, "JPEG", exif=exif)
    message = CompressedImage(format="jpeg", data=array.array("B", stream.getvalue()))
    assert cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), 1).shape == (32, 24, 3)
    assert images.to_rgb(message).shape == (24, 32, 3)


def test_a_real_frame_survives_the_wire(data_dir: Path) -> None:
    from rclpy.serialization import serialize_message

    rgb = cv2.cvtColor(cv2.imread(str(data_dir / "kitti/image/000000.jpg")), cv2.COLOR_BGR2RGB)
    wire = serialize_message(images.to_message(rgb, "rgb8"))
    np.testing.assert_array_equal(images.to_rgb(decode(wire, Image)), rgb)
