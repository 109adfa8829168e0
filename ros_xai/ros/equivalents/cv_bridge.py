"""Images for OpenCV, as the distribution's cv_bridge."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from ros_xai.ros import images
from ros_xai.ros.errors import MessageError

# encoding -> the part of OpenCV's names of colour conversions
_COLOURS = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA", "mono8": "GRAY"}
_CV_TYPES = {"uint8": "8U", "uint16": "16U", "float32": "32F"}


class CvBridgeError(TypeError):
    """A conversion that is not possible."""


def _convert(pixels: NDArray[Any], encoding: str, desired: str) -> NDArray[Any]:
    if desired in ("passthrough", encoding):
        return pixels
    try:
        code = getattr(cv2, f"COLOR_{_COLOURS[encoding]}2{_COLOURS[desired]}")
    except KeyError as error:
        raise CvBridgeError(
            f"expected a conversion among {', '.join(_COLOURS)}; got {encoding!r} to {desired!r}"
        ) from error
    converted: NDArray[Any] = cv2.cvtColor(pixels, code)
    return converted


class CvBridge:
    """Converts between messages and OpenCV images; every error is a CvBridgeError."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> NDArray[Any]:
        try:
            return _convert(images.to_array(img_msg), img_msg.encoding, desired_encoding)
        except MessageError as error:
            raise CvBridgeError(str(error)) from error

    def cv2_to_imgmsg(
        self, cvim: NDArray[Any], encoding: str = "passthrough", header: Any = None
    ) -> Image:
        if not isinstance(cvim, np.ndarray):
            raise TypeError(f"expected a numpy array; got {type(cvim).__name__}")
        if encoding == "passthrough":
            channels = cvim.shape[2] if cvim.ndim == 3 else 1
            encoding = f"{_CV_TYPES.get(cvim.dtype.name, cvim.dtype.name)}C{channels}"
        try:
            return images.to_message(cvim, encoding, header)
        except MessageError as error:
            raise CvBridgeError(str(error)) from error
