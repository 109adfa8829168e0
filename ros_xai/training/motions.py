"""Ego motions of a drive, estimated once and kept: PnP needs no learning, so no repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.depth import Drive
from ros_xai.depth.pose import MotionConfig, MotionStatus, estimate_motion
from ros_xai.depth.static import static_mask


@dataclass(frozen=True)
class Motions:
    """For each target frame and its sources at -gap and +gap (axis of 2):

    T_source_target [N, 2, 4, 4]; usable [N, 2]: the motion is trusted and has a parallax;
    static [N, 2, H, W]: pixels that agree with it. Frames without a source are not usable.
    """

    gap: int
    T_source_target: NDArray[np.float64]
    usable: NDArray[np.bool_]
    static: NDArray[np.bool_]

    @property
    def targets(self) -> NDArray[np.int64]:
        """Frames that have both sources."""
        return np.arange(self.gap, len(self.usable) - self.gap)


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
        points = target.points
        if rings is not None:
            points = points[np.isin(target.ring, list(rings))]
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
    """``estimate_motions``, read from ``folder`` when it was done before."""
    beams = "all" if rings is None else "-".join(map(str, rings))
    path = folder / f"{drive.name}_gap{gap}_rings{beams}.npz"
    if path.is_file():
        with np.load(path) as kept:
            shape = tuple(kept["shape"])
            static = np.unpackbits(kept["static"], count=int(np.prod(shape))).reshape(shape)
            return Motions(gap, kept["T"], kept["usable"], static.astype(bool))
    motions = estimate_motions(drive, gap, rings)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        T=motions.T_source_target,
        usable=motions.usable,
        static=np.packbits(motions.static),
        shape=motions.static.shape,
    )
    part.replace(path)
    return motions
