"""How the nodes take in a camera: its images as they are transported, and rectified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from ros_xai.ros.camera_info import Camera, rectifier
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival


def listen_to_images(
    node: PerceptionNode[Any, Any], name: str, callback: Callable[[Arrival], None]
) -> None:
    """Subscribes to `image`, or to `image/compressed`, as the node's `image_transport` says."""
    if node.config.image_transport == "compressed":
        node.listen(CompressedImage, "image/compressed", name, callback)
    else:
        node.listen(Image, "image", name, callback)


def rectified(rgb: NDArray[np.uint8], camera: Camera) -> tuple[NDArray[np.uint8], Camera]:
    """The rectified image of an image [H,W,3] of the camera, and its camera.

    Raises MessageError: `camera_info`, the image is not of the calibrated size.
    """
    camera.check_size(*rgb.shape[:2])
    if camera.is_rectified:
        return rgb, camera
    rectify = rectifier(camera)
    return rectify(rgb), rectify.camera
