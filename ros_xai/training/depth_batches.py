"""Training batches for depth: frame triplets, augmented, as the tensors the losses need."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.data.depth import DepthSample, Drive
from ros_xai.depth.inputs import network_input
from ros_xai.training.loop import Batch
from ros_xai.training.motions import Motions

FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Beams:
    """Which returns the network sees, and which ones its losses.

    ``input``: the sensor's beams; each sample hides a share ``drop_returns`` of them, and one
    whole beam with probability ``drop_beam``, so that copying the input is not enough.
    ``holes``: probability that patches of returns are missing, as on dark or glossy cars.
    ``any_sensor``: probability of another few-beam sensor instead (regular, random or narrow);
    ``off``: of none at all. ``supervision``: beams of the LiDAR loss, None = all there are.
    """

    input: tuple[int, ...] = (56, 40, 24, 8)
    supervision: tuple[int, ...] | None = (56, 40, 24, 8)
    drop_returns: float = 0.0
    drop_beam: float = 0.0
    holes: float = 0.0
    any_sensor: float = 0.0
    off: float = 0.0

    def choose(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The input beams of one sample."""
        chance = rng.random()
        if chance < self.off:
            return ()
        rings = self.input
        if chance < self.off + self.any_sensor:
            rings = _any_sensor(rng)
        if len(rings) > 1 and rng.random() < self.drop_beam:
            rings = tuple(np.delete(rings, rng.integers(len(rings))).tolist())
        return rings

    def thinned(self, sparse: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """The returns that are left of an image of them."""
        kept = rng.random(sparse.shape) >= self.drop_returns
        if rng.random() < self.holes:
            height, width = sparse.shape
            for _ in range(rng.integers(1, 5)):
                top, left = rng.integers(height), rng.integers(-width // 8, width)
                bottom = top + int(rng.uniform(0.1, 0.5) * height)
                right = left + int(rng.uniform(0.05, 0.25) * width)
                kept[top:bottom, max(left, 0) : max(right, 0)] = False
        return np.where(kept, sparse, np.float32(0))


@dataclass(frozen=True)
class Augmentation:
    """Training size; the picture is scaled by a factor in ``scale`` and cropped at random.

    ``jitter``: brightness, contrast, saturation, hue; colour changes only what the network sees.
    ``rough``: probability of channel gains, gamma, blur and noise beyond that, for a network that
    must serve other cameras.
    """

    height: int = 96
    width: int = 320
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.2, 0.2, 0.2, 0.05)
    rough: float = 0.0


class TripletBatches:
    """Makes batches from drives and their motions: call it with a generator."""

    def __init__(
        self,
        drives: Sequence[Drive],
        motions: Sequence[Motions],
        batch: int,
        augmentation: Augmentation,
        beams: Beams,
        exclude: Collection[int] = (),
    ) -> None:
        """``exclude``: frames of every drive that are no targets (they may be sources)."""
        self.drives, self.motions = drives, motions
        self.batch, self.augmentation, self.beams = batch, augmentation, beams
        self.targets = [
            (d, int(t)) for d, m in enumerate(motions) for t in m.targets if t not in exclude
        ]
        if not self.targets:
            raise ValueError("no drive has a frame with sources on both sides: use a smaller gap")

    def __call__(self, rng: np.random.Generator) -> Batch:
        picked = rng.choice(len(self.targets), self.batch, replace=len(self.targets) < self.batch)
        items = [self._item(*self.targets[index], rng) for index in picked]
        return {name: torch.from_numpy(np.stack([i[name] for i in items])) for name in items[0]}

    def _item(
        self, drive: int, target: int, rng: np.random.Generator
    ) -> dict[str, NDArray[np.generic]]:
        motions, frames = self.motions[drive], self.drives[drive]
        neighbours = (target - motions.gap, target + motions.gap) if motions.gap else ()
        samples = [frames[i] for i in (target, *neighbours)]
        T, static = motions.T_source_target[target], motions.static[target]
        # The static mask travels as a depth image does: nearest pixels.
        carriers = [
            replace(sample, depth=mask.astype(np.float32))
            for sample, mask in zip(samples[1:], static)
        ]
        travelled = [abs((s.distance or 0.0) - (samples[0].distance or 0.0)) for s in samples[1:]]
        sample, *sources = _window([samples[0], *carriers], self.augmentation, rng)
        if rng.random() < self.augmentation.flip:
            sample, *sources = (_flipped(s) for s in (sample, *sources))
            T = FLIP @ T @ FLIP
        sparse = self.beams.thinned(sample.sparse_depth(self.beams.choose(rng)), rng)
        seen = network_input(
            jittered(sample.image, self.augmentation, rng), sparse, sample.intrinsics
        )
        depth = np.zeros_like(sparse) if sample.depth is None else sample.depth
        item = {
            "image": seen.image,
            "geometry": seen.geometry,
            "scale": np.float32(seen.scale),
            "target": _unit(sample.image),
            "intrinsics": sample.intrinsics.astype(np.float32),
            "sparse": sample.sparse_depth(self.beams.supervision)[None],
            "depth": depth.astype(np.float32)[None],
        }
        if sources:
            item |= {
                "sources": np.stack([_unit(s.image) for s in sources]),
                "static": np.stack([s.depth[None] > 0.5 for s in sources]),
                "T": T.astype(np.float32),
                "usable": motions.usable[target],
                "travelled": np.array(travelled, dtype=np.float32),
            }
        return item


def jittered(
    image: NDArray[np.uint8], config: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Colour changes in the manner of a camera: jitter always, the rough ones by chance."""
    brightness, contrast, saturation, hue = (
        1 + rng.uniform(-1, 1) * amount if amount else 1.0 for amount in config.jitter
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + 180 * (hue - 1)) % 180
    hsv[..., 1] *= saturation
    x = cv2.cvtColor(hsv.clip(0, (179, 255, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB) / 255.0
    x = ((x - x.mean()) * contrast + x.mean()) * brightness
    if rng.random() < config.rough:
        x = x.clip(0, 1) ** rng.uniform(0.6, 1.6) * rng.uniform(0.8, 1.2, 3)
        if rng.random() < 0.3:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 1.5))
        x = x + rng.normal(0, rng.uniform(0, 0.04), x.shape)
    return (255 * x).clip(0, 255).astype(np.uint8)


def _any_sensor(rng: np.random.Generator) -> tuple[int, ...]:
    """Beams of a regular, an irregular or a narrow few-beam sensor out of 64."""
    kind = rng.integers(3)
    if kind == 0:
        step = int(rng.integers(8, 25))
        return tuple(range(int(rng.integers(step)), 64, step))
    if kind == 1:
        return tuple(rng.choice(64, int(rng.integers(2, 9)), replace=False).tolist())
    start = int(rng.integers(2, 24))
    return tuple(range(start, start + 8, 2))


def _window(
    samples: Sequence[DepthSample], config: Augmentation, rng: np.random.Generator
) -> list[DepthSample]:
    """All samples scaled and cropped alike."""
    rows, columns = samples[0].image.shape[:2]
    at_least = max(config.height / rows, config.width / columns)
    if config.scale == (1.0, 1.0):  # the whole picture
        return [s.resized(config.height, config.width) for s in samples]
    scale = max(at_least, rng.uniform(*config.scale))
    height = max(config.height, round(rows * scale))
    width = max(config.width, round(columns * scale))
    top = int(rng.integers(height - config.height + 1))
    left = int(rng.integers(width - config.width + 1))
    return [
        s.resized(height, width).cropped(top, left, config.height, config.width) for s in samples
    ]


def _flipped(sample: DepthSample) -> DepthSample:
    """The mirror image: x -> -x in the camera frame."""
    intrinsics = sample.intrinsics.copy()
    intrinsics[0, 2] = sample.image.shape[1] - 1 - intrinsics[0, 2]
    return replace(
        sample,
        image=sample.image[:, ::-1],
        intrinsics=intrinsics,
        points=sample.points * np.float32([-1, 1, 1]),
        depth=None if sample.depth is None else sample.depth[:, ::-1],
        co_moving=None if sample.co_moving is None else sample.co_moving[:, ::-1],
    )


def _unit(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
