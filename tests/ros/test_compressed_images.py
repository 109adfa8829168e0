"""CompressedImage: what is decoded, and files that are cut off, forged or of something else."""

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
from sensor_msgs.msg import CompressedImage

from ros_xai.ros import images
from ros_xai.ros.errors import MessageError


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
