"""Pictures of one answer for the report, as data URIs."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import CAMVID, IGNORE
from ros_xai.replay.frames import Frame
from ros_xai.replay.labels import LabelFrame
from ros_xai.segmentation.picture import overlay

Rgb = NDArray[np.uint8]

WIDTH = 480  # pixels of a picture in the report
NEAR, FAR = 2.0, 80.0  # metres that the colours span, by logarithm
LABEL_OPACITY = 0.6
ERROR_SPAN = 0.5  # relative error with the full colour
JPEG_QUALITY = 82


@dataclass(frozen=True)
class Panel:
    """A picture with its caption; `source` is a data URI."""

    caption: str
    source: str


def panels(frame: Frame) -> list[Panel]:
    """Image, input beams, depth, and where there is ground truth the relative error."""
    height, width = frame.depth.shape
    grey = _grey(frame.image, (height, width))
    views = {}
    if frame.image is not None:
        views["camera"] = frame.image
    views["input beams"] = _dots(grey, colour(frame.sparse), frame.sparse > 0)
    views["depth"] = colour(frame.depth)
    if frame.truth is not None:
        known = frame.truth > 0
        error = np.zeros_like(frame.depth)
        error[known] = (frame.depth[known] - frame.truth[known]) / frame.truth[known]
        views["error"] = _dots(grey, colour_error(error), known)
    return [Panel(caption, to_uri(view)) for caption, view in views.items()]


def label_panels(frame: LabelFrame) -> list[Panel]:
    """Image, answer and truth in the colours of the classes, and where the two differ."""
    ground = frame.image
    if ground is None or ground.shape[:2] != frame.labels.shape:
        ground = np.full((*frame.labels.shape, 3), 40, np.uint8)
    views = {"camera": ground, "labels": overlay(ground, frame.labels, CAMVID, LABEL_OPACITY)}
    if frame.truth is not None:
        views["truth"] = overlay(ground, frame.truth, CAMVID, LABEL_OPACITY)
        wrong = (frame.truth != IGNORE) & (frame.labels != frame.truth)
        grey = _grey(ground, frame.labels.shape)
        views["errors"] = np.where(wrong[..., None], np.uint8([215, 38, 30]), grey)
    return [Panel(caption, to_uri(view)) for caption, view in views.items()]


def colour(depth: NDArray[np.floating[Any]]) -> Rgb:
    """Depth [H,W] in metres as rgb: near is red, far is blue, black where it is unknown."""
    known = np.isfinite(depth) & (depth > 0)
    safe = np.where(known, depth, NEAR)
    share = np.log(np.clip(safe, NEAR, FAR) / NEAR) / math.log(FAR / NEAR)
    mapped = cv2.applyColorMap(np.uint8(255 * (1 - share)), cv2.COLORMAP_TURBO)
    return np.where(known[..., None], mapped[..., ::-1], 0).astype(np.uint8)


def colour_error(relative: NDArray[np.floating[Any]]) -> Rgb:
    """Relative error [H,W] as rgb: blue is too near, red too far, pale grey exact."""
    share = np.clip(np.nan_to_num(relative, nan=ERROR_SPAN) / ERROR_SPAN, -1, 1)[..., None]
    exact, near, far = np.array([235, 235, 235]), np.array([33, 102, 235]), np.array([215, 38, 30])
    mixed = exact + np.abs(share) * (np.where(share < 0, near, far) - exact)
    return mixed.astype(np.uint8)


def legend(low_to_high: Rgb) -> str:
    """A strip [N,3] of colours as a data URI."""
    return to_uri(np.repeat(low_to_high[None], 8, axis=0))


def depth_legend() -> str:
    """The colours of NEAR..FAR, by logarithm."""
    return legend(colour(np.geomspace(NEAR, FAR, 256)[None])[0])


def error_legend() -> str:
    """The colours of -ERROR_SPAN..ERROR_SPAN."""
    return legend(colour_error(np.linspace(-ERROR_SPAN, ERROR_SPAN, 256)[None])[0])


def to_uri(rgb: Rgb) -> str:
    """JPEG of WIDTH pixels at most, as a data URI."""
    height, width = rgb.shape[:2]
    if width > WIDTH:
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    # Full resolution of colour, or the dots of single beams would lose theirs.
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded, buffer = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), options)
    assert encoded  # an image in memory can always be encoded
    return "data:image/jpeg;base64," + base64.b64encode(buffer.tobytes()).decode()


def _grey(image: Rgb | None, size: tuple[int, int]) -> Rgb:
    """The camera's image, dark and without colour, as the ground for dots."""
    if image is None or image.shape[:2] != size:
        return np.full((*size, 3), 40, np.uint8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.repeat((grey * 0.4).astype(np.uint8)[..., None], 3, axis=2)


def _dots(ground: Rgb, colours: Rgb, where: NDArray[np.bool_]) -> Rgb:
    """The coloured pixels on the ground, each drawn large enough to be seen when scaled down."""
    if where.mean() > 0.2:
        return np.where(where[..., None], colours, ground)
    kernel = np.ones((2 * round(where.shape[1] / WIDTH) + 1,) * 2, np.uint8)
    large = cv2.dilate(np.where(where[..., None], colours, 0).astype(np.uint8), kernel)
    drawn = cv2.dilate(where.astype(np.uint8), kernel)[..., None] > 0
    return np.where(drawn, large, ground)
