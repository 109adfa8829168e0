"""Labels as people look at them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import Classes


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Classes, opacity: float = 0.5
) -> NDArray[np.uint8]:
    """The image tinted by the colours of its labels: uint8 [H, W, 3] rgb."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.colors
    return cv2.addWeighted(image, 1 - opacity, palette[labels], opacity, 0)
