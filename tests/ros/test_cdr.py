"""Serialised messages: whole ones come back, and no others are fatal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, PointCloud2

from ros_xai.ros import camera_info, images, pointclouds
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
POINTS = np.arange(12, dtype=np.float32).reshape(4, 3)
CAMERA = camera_info.Camera(64, 48, (50.0, 0, 32, 0, 50, 24, 0, 0, 1), "plumb_bob", (0.1,) * 5)
MESSAGES = {
    "Image": images.to_message(PIXELS, "rgb8"),
    "jpeg": images.compress(PIXELS, "jpeg"),
    "png": images.compress(PIXELS, "png"),
    "PointCloud2": pointclouds.to_message(POINTS),
    "CameraInfo": camera_info.to_message(CAMERA),
}
ALL = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())


@ALL
def test_whole_bytes_give_the_message(message: Any) -> None:
    assert decode(serialize_message(message), type(message)) == message


@ALL
def test_every_cut_is_a_named_error(message: Any) -> None:
    data, message_type = serialize_message(message), type(message)
    for length in range(len(data) - 4):  # up to 3 bytes at the end may be alignment
        with pytest.raises(MessageError, match=f"got {length} bytes") as caught:
            decode(data[:length], message_type)
        assert caught.value.reason == "truncated_cdr"


@ALL
@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=300))
def test_noise_is_never_fatal(message: Any, noise: bytes) -> None:
    for data in (noise, b"\0\1\0\0" + noise):
        try:
            decode(data, type(message))
        except MessageError as error:
            assert error.reason == "truncated_cdr"


def usable(message: Any) -> None:
    if isinstance(message, PointCloud2):
        pointclouds.xyz(pointclouds.to_structured(message))
    elif isinstance(message, CameraInfo):
        camera_info.from_message(message)
    else:
        images.to_rgb(message)


@ALL
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_four_wrong_bytes_are_an_error_or_a_message(message: Any, data: st.DataObject) -> None:
    """Wrong lengths, sizes, offsets and datatypes all the way into the arrays."""
    whole = bytearray(serialize_message(message))
    start = 4 * data.draw(st.integers(1, len(whole) // 4 - 1))
    whole[start : start + 4] = data.draw(st.binary(min_size=4, max_size=4))
    try:
        usable(decode(bytes(whole), type(message)))
    except MessageError as error:
        assert str(error)
