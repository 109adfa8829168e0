"""Images: bytes laid out one by one with `struct`, OpenCV, rosbags-image and round trips."""

from __future__ import annotations

import array
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import Image
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


def test_a_real_frame_survives_the_wire(data_dir: Path) -> None:
    from rclpy.serialization import serialize_message

    rgb = cv2.cvtColor(cv2.imread(str(data_dir / "kitti/image/000000.jpg")), cv2.COLOR_BGR2RGB)
    wire = serialize_message(images.to_message(rgb, "rgb8"))
    np.testing.assert_array_equal(images.to_rgb(decode(wire, Image)), rgb)
