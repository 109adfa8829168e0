"""The parameters of the depth node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ros_xai.depth.estimator import MAX_PIXELS
from ros_xai.engines.compile import check_engine
from ros_xai.ros.pairing import PairingTimes
from ros_xai.ros.parameters import NodeConfig, parameter


@dataclass(frozen=True)
class DepthConfig(NodeConfig):
    """The parameters of the depth node."""

    weights: str = parameter(
        "", "a .safetensors file with its card beside; empty: the shipped network", reload=True
    )
    engine: str = parameter(
        "torch",
        "what runs the network: torch, onnxruntime, openvino, openvino-bf16 (two digits, faster), "
        "or the folder of a bundle by ros_xai prune, which holds its own network",
        reload=True,
    )
    threads: int = parameter(
        0, "threads of onnxruntime or openvino; 0: their choice", bounds=(0, 256), reload=True
    )
    max_pixels: int = parameter(
        MAX_PIXELS, "most pixels the network works at", bounds=(1024, 4_000_000), reload=True
    )
    image_transport: Literal["raw", "compressed"] = parameter(
        "raw", "raw: subscribe to image; compressed: to image/compressed", reload=True
    )
    rings: tuple[int, ...] = parameter(
        (), "beams to use, by the points' ring field, else 0 is the top one; empty: all"
    )
    beams: int = parameter(
        64, "beams of the scanner, to number them where points have no ring", bounds=(1, 1024)
    )
    T_camera_lidar: tuple[float, ...] = parameter(
        (), "4x4 row-major, LiDAR into optical camera frame, metres; empty: from /tf_static"
    )
    sync_slop: float = parameter(
        0.05,
        "largest distance in time of image and cloud, s; below half a scan's time",
        bounds=(0.0, 1.0),
    )
    sync_timeout: float = parameter(
        0.2,
        "an image waits for its cloud or camera_info until images are this much newer, s",
        bounds=(0.0, 10.0),
    )
    lidar_timeout: float = parameter(
        0.5, "no cloud for this long: images stop to wait for one, s", bounds=(0.0, 60.0)
    )
    lidar_required: bool = parameter(
        False, "drop images without a cloud instead of answering from the camera alone"
    )
    publish_points: bool = parameter(False, "publish depth/points, the depth as coloured points")
    points_stride: int = parameter(
        2, "depth/points has every n-th pixel of every n-th row", bounds=(1, 64)
    )
    publish_sparse: bool = parameter(
        False, "publish depth/sparse, the beams as the network sees them"
    )

    def __post_init__(self) -> None:
        check_engine(self.engine)
        if any(ring < 0 for ring in self.rings):
            raise ValueError(f"rings: expected numbers from 0 (the top beam); got {self.rings}")
        if self.T_camera_lidar:
            _check_rigid(self.T_camera_lidar)

    @property
    def times(self) -> PairingTimes:
        """When an image stops waiting for a cloud."""
        slop, patience, absence = (
            round(seconds * 1e9)
            for seconds in (self.sync_slop, self.sync_timeout, self.lidar_timeout)
        )
        return PairingTimes(slop, patience, absence)


def _check_rigid(numbers: tuple[float, ...]) -> None:
    if len(numbers) != 16:
        raise ValueError(f"T_camera_lidar: expected 16 numbers or none; got {len(numbers)}")
    T = np.reshape(numbers, (4, 4))
    R = T[:3, :3]
    orthonormal = np.allclose(R @ R.T, np.eye(3), atol=1e-3) and np.linalg.det(R) > 0
    if not np.isfinite(T).all() or not orthonormal or not np.array_equal(T[3], (0, 0, 0, 1)):
        raise ValueError(
            "T_camera_lidar: expected a rotation, a translation and a last row 0 0 0 1; "
            f"got {T.tolist()}"
        )
