"""Ego motions of a drive, estimated once and kept: PnP needs no learning, so no repetition."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.depth import Drive
from ros_xai.depth.pose import MotionConfig, MotionStatus, estimate_motion
from ros_xai.depth.static import static_mask
from ros_xai.training.checkpoint import digest


@dataclass(frozen=True)
class Motions:
    """For each target frame and its sources at -gap and +gap (axis of 2); gap 0: no sources.

    T_source_target [N, 2, 4, 4]; usable [N, 2]: the motion is trusted and has a parallax;
    static [N, 2, H, W]: pixels that agree with it. Frames without a source are not usable.
    """

    gap: int
    T_source_target: NDArray[np.float64]
    usable: NDArray[np.bool_]
    static: NDArray[np.bool_]

    def resized(self, height: int, width: int) -> Motions:
        """The masks at another image size, by nearest pixels; motions are metric and stay."""
        rows, columns = self.static.shape[-2:]
        v = ((np.arange(height) + 0.5) * rows / height).astype(int)
        u = ((np.arange(width) + 0.5) * columns / width).astype(int)
        return replace(self, static=self.static[..., v[:, None], u])

    @property
    def targets(self) -> NDArray[np.int64]:
        """Frames that have both sources."""
        return np.arange(self.gap, len(self.usable) - self.gap)


def no_motions(drive: Drive) -> Motions:
    """For training without a photometric term: every frame is a target, none has sources."""
    shape = drive[0].image.shape[:2]
    count = len(drive)
    return Motions(
        0,
        np.broadcast_to(np.eye(4), (count, 2, 4, 4)),
        np.broadcast_to(False, (count, 2)),
        np.broadcast_to(False, (count, 2, *shape)),
    )


def estimate_motions(
    drive: Drive, gap: int, rings: Sequence[int] | None, config: MotionConfig | None = None
) -> Motions:
    """PnP between frames ``gap`` apart, from the beams ``rings`` (None = all)."""
    frames = [drive[i] for i in range(len(drive))]
    count, shape = len(frames), frames[0].image.shape[:2]
    T = np.tile(np.eye(4), (count, 2, 1, 1))
    usable = np.zeros((count, 2), dtype=bool)
    static = np.zeros((count, 2, *shape), dtype=bool)
    for i, target in enumerate(frames):
        points = target.beams(rings).points
        for side, j in enumerate((i - gap, i + gap)):
            if not 0 <= j < count:
                continue
            pair = (target.image, frames[j].image, points, target.intrinsics)
            motion = estimate_motion(*pair, config)
            usable[i, side] = motion.status is MotionStatus.OK
            if usable[i, side]:
                T[i, side] = motion.T_source_target
                static[i, side] = static_mask(*pair, motion.T_source_target)
    return Motions(gap, T, usable, static)


def cached_motions(drive: Drive, gap: int, rings: Sequence[int] | None, folder: Path) -> Motions:
    """``estimate_motions``, read from ``folder`` when it was done before for the same frames."""
    beams = "all" if rings is None else "-".join(map(str, rings))
    path = folder / f"{drive.name}_{_frames(drive, rings)}_gap{gap}_rings{beams}.npz"
    if path.is_file():
        with np.load(path) as kept:
            shape = tuple(kept["shape"])
            static = np.unpackbits(kept["static"], count=int(np.prod(shape))).reshape(shape)
            return Motions(gap, kept["T"], kept["usable"], static.astype(bool))
    motions = estimate_motions(drive, gap, rings)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part.npz")  # several processes may be at it
    np.savez(
        part,
        T=motions.T_source_target,
        usable=motions.usable,
        static=np.packbits(motions.static),
        shape=motions.static.shape,
    )
    part.replace(path)
    return motions


def _frames(drive: Drive, rings: Sequence[int] | None) -> str:
    """Tells drives apart by the number of frames and what the first and the last show."""
    ends = [drive[i].beams(rings) for i in (0, len(drive) - 1)]
    seen = (column for end in ends for column in (end.image, end.intrinsics, end.points))
    return digest(len(drive), *seen)


def parallax_gap(
    drive: Drive,
    rings: Sequence[int] | None,
    distance: float = 0.4,
    longest: int = 5,
    probes: int = 8,
) -> int:
    """Frames between target and source so that the ego moves ``distance`` metres or more.

    The smallest gap whose median over some trusted motions reaches it, else ``longest``.
    """
    for gap in range(1, longest):
        pairs = np.unique(np.linspace(0, len(drive) - 1 - gap, probes).astype(int).clip(0))
        found = []
        for i in pairs:
            target = drive[int(i)]
            points = target.beams(rings).points
            motion = estimate_motion(
                target.image, drive[int(i) + gap].image, points, target.intrinsics
            )
            found += [motion.distance] if motion.trusted else []
        if found and np.median(found) >= distance:
            return gap
    return longest
