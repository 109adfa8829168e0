"""A clip of KITTI raw (Geiger et al., IJRR 2013) as camera images and LiDAR sweeps.

Folder: ``calibration.json``, ``image/NNNNNN.jpg``, ``lidar/NNNNNN.npz`` with xyz_cm int16 [N, 3],
ring uint8 [N] (0 = top of 64) and intensity uint8 [N]. KITTI is non-commercial (CC BY-NC-SA 3.0):
for evaluation only; nothing learned from it is shipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

RINGS = (56, 40, 24, 8)  # one beam of 16: the four-beam sensor of LiDARTouch
NARROW_RINGS = (5, 7, 9, 11)  # a forward-looking fan
TRAIN_FRAMES = range(48)
EVAL_FRAMES = range(48, 60)


class KittiClip:
    """Frames by index.

    Raises:
        FileNotFoundError: what is missing in the folder. ValueError: what is wrong in the
            calibration. OSError: a frame that cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        calibration_file = self.folder / "calibration.json"
        if not calibration_file.is_file():
            raise FileNotFoundError(
                f"{self.folder} is not a KITTI clip: expected calibration.json, image/ and lidar/"
            )
        try:
            calibration = json.loads(calibration_file.read_text())
            K, T = calibration["K"], calibration["T_camera_lidar"]
            self.intrinsics: NDArray[np.float64] = np.reshape(K, (3, 3)).astype(np.float64)
            self.T_camera_lidar: NDArray[np.float64] = np.reshape(T, (4, 4)).astype(np.float64)
            self.width, self.height = (int(n) for n in calibration["image_size"])
            self.rate_hz = float(calibration["frame_rate_hz"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{calibration_file}: expected K (3x3), T_camera_lidar (4x4), image_size and "
                f"frame_rate_hz; got {error!r}"
            ) from error
        self.names = sorted(path.stem for path in (self.folder / "image").glob("*.jpg"))
        if not self.names:
            raise FileNotFoundError(f"no frame image/*.jpg in {self.folder}")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Rectified colour image, uint8 [H, W, 3] rgb."""
        path = self.folder / "image" / f"{self.names[index]}.jpg"
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise OSError(f"cannot decode {path} as a JPEG image")
        return np.ascontiguousarray(bgr[..., ::-1])

    def scan(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
        """xyz float32 [N, 3] metres in the LiDAR frame, ring [N] (0 = top), intensity [N]."""
        path = self.folder / "lidar" / f"{self.names[index]}.npz"
        try:
            with np.load(path) as scan:
                xyz = scan["xyz_cm"].astype(np.float32) / np.float32(100)
                return xyz, scan["ring"], scan["intensity"]
        except (BadZipFile, EOFError, KeyError, ValueError) as error:
            raise OSError(
                f"cannot read {path} as a sweep: expected arrays xyz_cm, ring and intensity"
            ) from error
