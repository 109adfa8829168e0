"""PNG files of images and of class numbers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import DataError


def read_label(path: Path, classes: int) -> NDArray[np.uint8]:
    """Class numbers [H, W], 255 = none; DataError for a file of anything else."""
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if label is None or label.ndim != 2 or label.dtype != np.uint8:
        raise DataError(f"{path}: expected a PNG of one channel of class numbers, 8 bits")
    beyond = label[(label >= classes) & (label != 255)]
    if len(beyond):
        raise DataError(f"{path}: value {int(beyond[0])} is no class; expected 0..{classes - 1}")
    return np.asarray(label, np.uint8)


def write_png(path: Path, array: NDArray[np.uint8]) -> None:
    """Writes rgb [H, W, 3] or numbers [H, W]; OSError where that is not possible."""
    if not cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array):
        raise OSError(f"cannot write {path}")
