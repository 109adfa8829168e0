"""Data of the generators: rendered moments with their truth, streets, layouts, CamVid's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import DataError, Sample, WorldSequences
from ros_xai.generation.images import centred
from ros_xai.generation.layouts import resized_label
from ros_xai.generation.scenes import SceneConfig, default_folder, write_scenes
from ros_xai.training.segmentation import Labelled
from ros_xai.world.dataset import DatasetConfig, write_dataset

HELD_OUT = 4  # of every so many drives the last is for tests only
LAYOUTS = DatasetConfig(
    kind="layouts", sequences=40, frames=40, stride=10, width=128, height=64, vary_camera=True
)
# 24 + 3 x 12 drives of ten images, small ones since they are brought to 64x128
STREETS = tuple(
    DatasetConfig(
        kind="segmentation",
        sequences=count,
        frames=10,
        stride=12,
        width=160,
        height=120,
        seed=seed,
        domains=(look,),
        vary_camera=True,
    )
    for look, count, seed in (
        ("clear", 24, 0),
        ("dusk", 12, 1),
        ("rain", 12, 4),
        ("camera_b", 12, 5),
    )
)
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scenes:
    """Rendered moments, each in two states one after the other, first the one in which the ego must
    stop; and what is true of each row [N]: `sign`, `car` could be seen; `red`, `brake`
    were; `may_move`: neither."""

    pairs: Labelled
    sign: Bools
    car: Bools
    red: Bools
    brake: Bools
    may_move: Bools

    @property
    def reasons(self) -> Bools:
        """Which reasons to stop hold [N, 2], in the order of the decision's evidence."""
        return np.stack([self.red, self.brake], axis=1)

    @property
    def differing(self) -> NDArray[np.int64]:
        """Pixels [N] in which a moment's two states differ by a quarter of the grey levels or more,
        in any colour: how large its lamps are."""
        gap = np.abs(np.subtract(self.pairs.images[0::2], self.pairs.images[1::2], dtype=np.int16))
        return np.repeat((gap.max(axis=3) >= 64).sum(axis=(1, 2)), 2)

    def causes(self, index: int) -> tuple[str, ...]:
        """Names of the classes that forbid to move on, or could forbid it."""
        if self.may_move[index]:
            return tuple(n for n, seen in (("sign", self.sign), ("car", self.car)) if seen[index])
        return tuple(n for n, lit in (("sign", self.red), ("car", self.brake)) if lit[index])


def load_scenes(
    held_out: bool | None, config: SceneConfig | None = None, write: bool = True
) -> Scenes:
    """Moments of the drives for training, of the held-out ones, or (None) of all; rendered once."""
    config = config or SceneConfig()
    folder = write_scenes(config, default_folder(config)) if write else default_folder(config)
    parts = []
    for path in sorted(folder.glob("scenes_*.npz")):
        number = int(path.stem.rpartition("_")[2])
        if held_out is not None and (number % HELD_OUT == HELD_OUT - 1) != held_out:
            continue
        with np.load(path) as arrays:
            if arrays.files:  # a drive may hold no moment that decides
                parts.append({name: arrays[name] for name in arrays.files})
    if not parts:
        raise DataError(f"no moment in {folder}")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    truth = (whole[name] for name in ("sign", "car", "red", "brake", "may_move"))
    return Scenes(Labelled(whole["image"], whole["label"]), *truth)


def fitted(samples: Sequence[Sample], size: tuple[int, int]) -> Labelled:
    """Samples through the largest centred window of an aspect, at one size (rows, columns)."""
    images, labels = [], []
    for sample in samples:
        window = centred(*sample.label.shape, size[1] / size[0])
        images.append(cv2.resize(sample.image[window], size[::-1], interpolation=cv2.INTER_AREA))
        labels.append(resized_label(sample.label[window], size))
    return Labelled(np.stack(images), np.stack(labels))


def streets(size: tuple[int, int]) -> Labelled:
    """Rendered streets of five networks and four looks, with all their labels."""
    return joined([fitted(WorldSequences(write_dataset(part)), size) for part in STREETS])


def world_layouts(held_out: bool, config: DatasetConfig = LAYOUTS) -> NDArray[np.uint8]:
    """Layouts uint8 [N, H, W] of rendered streets; of every HELD_OUT towns the last is held out."""
    folder = write_dataset(config)
    files = sorted(Path(folder).glob("sequence_*.npz"))
    chosen = [f for i, f in enumerate(files) if (i % HELD_OUT == HELD_OUT - 1) == held_out]
    parts = []
    for path in chosen:
        with np.load(path) as arrays:
            parts.append(arrays["label"])
    return np.concatenate(parts)


def joined(parts: Sequence[Labelled]) -> Labelled:
    """One data set of several."""
    return Labelled(*(np.concatenate(column) for column in zip(*parts)))
