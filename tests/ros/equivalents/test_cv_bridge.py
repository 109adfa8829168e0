"""What the distribution's cv_bridge and our equivalent both promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros_xai.ros import images


@pytest.mark.parametrize(
    ("dtype", "channels", "encoding", "generic"),
    [
        (np.uint8, 3, "bgr8", "8UC3"),
        (np.uint8, 1, "mono8", "8UC1"),
        (np.uint16, 1, "mono16", "16UC1"),
        (np.float32, 1, "32FC1", "32FC1"),
    ],
)
def test_images_go_and_come_back(
    cv_bridge: Any, dtype: Any, channels: int, encoding: str, generic: str
) -> None:
    bridge = cv_bridge.CvBridge()
    image = np.arange(2 * 3 * channels).reshape(2, 3, channels).astype(dtype)
    image = image if channels > 1 else image[..., 0]
    message = bridge.cv2_to_imgmsg(image, encoding, Header(frame_id="camera"))
    assert message == images.to_message(image, encoding, Header(frame_id="camera"))
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), image)
    assert bridge.cv2_to_imgmsg(image).encoding == generic


@pytest.mark.parametrize(
    ("source", "desired", "pixel"),
    [
        ("rgb8", "bgr8", [3, 2, 1]),
        ("bgr8", "rgb8", [3, 2, 1]),
        ("rgb8", "bgra8", [3, 2, 1, 255]),
        ("rgb8", "passthrough", [1, 2, 3]),
    ],
)
def test_colours_are_converted(cv_bridge: Any, source: str, desired: str, pixel: list[int]) -> None:
    message = images.to_message(np.full((2, 2, 3), [1, 2, 3], np.uint8), source)
    converted = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding=desired)
    assert converted[1, 0].tolist() == pixel


def test_impossible_conversions_are_cv_bridge_errors(cv_bridge: Any) -> None:
    bridge = cv_bridge.CvBridge()
    assert issubclass(cv_bridge.CvBridgeError, TypeError)
    with pytest.raises(cv_bridge.CvBridgeError):
        bridge.cv2_to_imgmsg(np.zeros((2, 2, 3), np.uint8), "mono8")
    with pytest.raises(cv_bridge.CvBridgeError):
        bridge.imgmsg_to_cv2(Image(height=1, width=1, step=1, encoding="nonsense"))
    with pytest.raises(cv_bridge.CvBridgeError):
        bridge.imgmsg_to_cv2(images.to_message(np.zeros((2, 2), np.float32), "32FC1"), "nonsense")
    with pytest.raises(TypeError):
        bridge.cv2_to_imgmsg([[1, 2], [3, 4]])
