"""The `data` field of large messages."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_bytes(contiguous: NDArray[Any]) -> array.array[int]:
    """The bytes of a C-contiguous array as array.array('B').

    It is the one type that rclpy stores as it is. Lists are converted value by value, and where
    fields are checked (always before Jazzy, with ROS_PYTHON_CHECK_FIELDS=1 since) bytes are walked
    through too, which takes a hundred times as long (ros2/rclpy issue 763).
    """
    data = array.array("B")
    data.frombytes(contiguous.reshape(-1).view(np.uint8).data)
    return data
