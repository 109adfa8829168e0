"""Frames with camera and LiDAR for depth: one sample type, two kinds of drive.

A drive is a sequence of frames of one camera in the order of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.core.camera import scale_intrinsics
from ros_xai.core.geometry import transform
from ros_xai.core.pointcloud import sparse_depth
from ros_xai.data.kitti import KittiClip

CO_MOVING_SPEED = 0.5  # m/s: relative speed below which an object moves with the ego
CO_MOVING_PIXELS = 100


@dataclass(frozen=True)
class DepthSample:
    """One frame.

    image: uint8 [H, W, 3] rgb; intrinsics: [3, 3] px; points: float32 [N, 3] metres in the
    camera frame (optical), with ring [N] (0 = top beam). What only a world knows is None on real
    data: depth float32 [H, W] metres (0 = none), co_moving bool [H, W] (objects of at least 100
    px at the ego's speed), distance, metres the ego travelled since the drive's first frame.
    """

    image: NDArray[np.uint8]
    intrinsics: NDArray[np.float64]
    points: NDArray[np.float32]
    ring: NDArray[np.uint8]
    depth: NDArray[np.float32] | None = None
    co_moving: NDArray[np.bool_] | None = None
    distance: float | None = None

    def sparse_depth(self, rings: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Returns of the beams ``rings`` (None = all) as an image [H, W], metres, 0 = none."""
        return sparse_depth(self.beams(rings).points, self.intrinsics, *self.image.shape[:2])

    def beams(self, rings: Sequence[int] | None) -> DepthSample:
        """The sample of a sensor that has only the beams ``rings`` (None = as it is)."""
        if rings is None:
            return self
        kept = np.isin(self.ring, list(rings))
        return replace(self, points=self.points[kept], ring=self.ring[kept])

    def resized(self, height: int, width: int) -> DepthSample:
        """The sample at another image size, intrinsics with it; truth by nearest pixels."""
        rows, columns = self.image.shape[:2]
        if (rows, columns) == (height, width):
            return self
        size = (width, height)
        return replace(
            self,
            image=np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)),
            intrinsics=scale_intrinsics(self.intrinsics, width / columns, height / rows),
            depth=_nearest(self.depth, size),
            co_moving=_nearest(self.co_moving, size),
        )

    def cropped(self, top: int, left: int, height: int, width: int) -> DepthSample:
        """The window at (top, left) of the given size, the principal point moved with it."""
        window = (slice(top, top + height), slice(left, left + width))
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, 2] -= (left, top)
        return replace(
            self,
            image=self.image[window],
            intrinsics=intrinsics,
            depth=None if self.depth is None else self.depth[window],
            co_moving=None if self.co_moving is None else self.co_moving[window],
        )


class Drive(Protocol):
    """Frames of one camera in the order of time."""

    @property
    def name(self) -> str:
        """Distinguishes the drive's cached results."""

    def __len__(self) -> int:
        """Number of frames."""

    def __getitem__(self, index: int) -> DepthSample:
        """Frame ``index``, from 0."""


@dataclass(frozen=True)
class KittiDrive:
    """Frames ``frames`` of a KITTI clip."""

    clip: KittiClip
    frames: Sequence[int]
    name: str = "kitti"

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> DepthSample:
        frame = self.frames[index]
        xyz, ring, _ = self.clip.scan(frame)
        points = transform(self.clip.T_camera_lidar, xyz).astype(np.float32)
        return DepthSample(self.clip.image(frame), self.clip.intrinsics, points, ring)


@dataclass(frozen=True)
class Loaded:
    """A drive held in memory, for training that visits its frames many times."""

    name: str
    samples: tuple[DepthSample, ...]

    @classmethod
    def of(cls, drive: Drive) -> Loaded:
        """All frames of ``drive``."""
        return cls(drive.name, tuple(drive[i] for i in range(len(drive))))

    @classmethod
    def resized(cls, drive: Drive, size: tuple[int, int]) -> Loaded:
        """All frames of ``drive`` at ``size`` (rows, columns)."""
        return cls(drive.name, tuple(drive[i].resized(*size) for i in range(len(drive))))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> DepthSample:
        return self.samples[index]


class WorldDrive:
    """A rendered sequence: ``sequence_NNNN.npz`` of a world dataset, read whole into memory."""

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.name = path.stem
        with np.load(path) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        missing = {"image", "depth", "lidar_xyz", "lidar_offsets"} - set(self.arrays)
        if missing:
            raise ValueError(f"{path} is no world sequence: it lacks {sorted(missing)}")
        positions = self.arrays["T_world_camera"][:, :3, 3]
        steps = np.linalg.norm(np.diff(positions, axis=0), axis=-1)
        self.travelled = np.concatenate([[0.0], np.cumsum(steps)])

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def __getitem__(self, index: int) -> DepthSample:
        a = self.arrays
        span = slice(*a["lidar_offsets"][index : index + 2])
        points = transform(a["T_camera_lidar"], a["lidar_xyz"][span])
        return DepthSample(
            a["image"][index],
            a["intrinsics"],
            points.astype(np.float32),
            a["lidar_ring"][span],
            a["depth"][index].astype(np.float32),
            self._co_moving(index),
            float(self.travelled[index]),
        )

    def _co_moving(self, index: int) -> NDArray[np.bool_]:
        a = self.arrays
        ego, ids = a["ego_velocity"][index], a["instance_ids"]
        relative = np.linalg.norm(a["instance_velocity"][index] - ego, axis=-1)
        area = np.bincount(a["instance"][index].ravel(), minlength=int(ids.max(initial=0)) + 1)
        # With the ego at rest everything parked would count, and nothing would be a trap.
        moving = np.linalg.norm(ego) > CO_MOVING_SPEED
        chosen = moving & (relative < CO_MOVING_SPEED) & (area[ids] >= CO_MOVING_PIXELS)
        return np.isin(a["instance"][index], ids[chosen])


def world_drives(folder: str | Path) -> list[WorldDrive]:
    """The sequences of a depth dataset of the world, in order."""
    files = sorted(Path(folder).glob("sequence_*.npz"))
    if not files:
        raise FileNotFoundError(
            f"no sequence_*.npz in {folder}: write them by `ros_xai world dataset depth`"
        )
    return [WorldDrive(path) for path in files]


def _nearest(array, size):  # type: ignore[no-untyped-def]
    if array is None:
        return None
    kind = array.dtype
    resized = cv2.resize(array.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return resized.astype(kind)
