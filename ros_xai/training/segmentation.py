"""Batches, supervised objective and scoring of segmentation networks, shared by all methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation.metrics import confusion
from ros_xai.segmentation.network import SegmentationNetwork, resize
from ros_xai.training.loop import Batch

Images = NDArray[np.uint8]  # [N, H, W, 3] rgb
Labels = NDArray[np.uint8]  # [N, H, W]


class Labelled(NamedTuple):
    """Images uint8 [N, H, W, 3] rgb and labels uint8 [N, H, W], all of one size."""

    images: Images
    labels: Labels

    def take(self, index: NDArray[np.integer] | slice) -> Labelled:
        """The samples of an index."""
        return Labelled(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Augmentation:
    """Mirror image at even odds, a window of `zoom`..1 of the image scaled to `shrink` of the
    image's size, and gains of brightness, contrast and colour within 1 +- `jitter`. At odds of
    `rough`, each by itself: gamma 2 ** (-0.5..0.5), blur up to 1.2 px, noise up to 12 / 255."""

    zoom: float = 0.6
    jitter: float = 0.25
    rough: float = 0.0
    shrink: float = 1.0


def draw(
    data: Labelled,
    count: int,
    rng: np.random.Generator,
    augmentation: Augmentation | None = None,
) -> Batch:
    """A batch of `count` samples drawn with replacement, as they are or augmented."""
    chosen = data.take(rng.integers(len(data.images), size=count))
    return to_batch(chosen if augmentation is None else augment(chosen, rng, augmentation))


def draw_images(
    images: Images, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
) -> Tensor:
    """Like `draw` for images without labels: float [B, 3, H, W] in [0, 1]."""
    blank = np.full(images.shape[:3], IGNORE, dtype=np.uint8)
    return draw(Labelled(images, blank), count, rng, augmentation)["image"]


def to_batch(data: Labelled) -> Batch:
    """image float [B, 3, H, W] in [0, 1], label int64 [B, H, W]."""
    return {"image": to_tensor(data.images), "label": torch.from_numpy(data.labels).long()}


def augment(data: Labelled, rng: np.random.Generator, augmentation: Augmentation) -> Labelled:
    """Every sample augmented by itself."""
    pairs = [augment_one(i, j, rng, augmentation) for i, j in zip(data.images, data.labels)]
    return Labelled(*(np.stack(column) for column in zip(*pairs)))


def augment_one(
    image: Images, label: Labels, rng: np.random.Generator, augmentation: Augmentation
) -> tuple[Images, Labels]:
    """One augmented sample: image uint8 [h, w, 3], label uint8 [h, w], of `shrink` times the
    input's size."""
    height, width = label.shape
    scale = rng.uniform(augmentation.zoom, 1.0)
    rows, columns = round(height * scale), round(width * scale)
    top = int(rng.integers(height - rows + 1))
    left = int(rng.integers(width - columns + 1))
    window = np.s_[top : top + rows, left : left + columns]
    size = (round(width * augmentation.shrink), round(height * augmentation.shrink))
    image = cv2.resize(image[window], size, interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    if augmentation.jitter:
        gain = 1 + augmentation.jitter * rng.uniform(-1, 1, 5)
        mean = image.mean()
        # contrast about the mean, then brightness, then a weaker gain per channel
        colour = 1 + (gain[2:] - 1) / 2
        changed = ((image - mean) * gain[0] + mean) * (gain[1] * colour)
        image = np.clip(changed, 0, 255).astype(np.uint8)
    if augmentation.rough:
        image = _roughened(image, rng, augmentation.rough)
    return image, label


def _roughened(image: Images, rng: np.random.Generator, odds: float) -> Images:
    """Another gamma, lens and sensor: uint8 [H, W, 3]."""
    gamma, blur, noise = rng.random(3) < odds
    changed = image.astype(np.float32)
    if gamma:
        changed = 255 * (changed / 255) ** np.float32(2 ** rng.uniform(-0.5, 0.5))
    if blur:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.3, 1.2))
    if noise:
        deviation = np.float32(rng.uniform(0, 12))
        changed += deviation * rng.standard_normal(changed.shape, dtype=np.float32)
    return np.clip(changed, 0, 255).astype(np.uint8)


def to_tensor(images: Images) -> Tensor:
    """uint8 [N, H, W, 3] -> float [N, 3, H, W] in [0, 1], in the layout that convolves fastest."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return tensor.float().div_(255).contiguous(memory_format=torch.channels_last)


class Supervised(nn.Module):
    """Cross-entropy of labelled images."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(self.network(batch["image"]), batch["label"])}


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over labelled pixels, logits [B, C, h, w] brought to the size of labels [B, H, W].

    0 with a gradient path when every pixel is IGNORE.
    """
    logits = resize(logits, labels.shape[1:])
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


@torch.no_grad()
def score(
    network: SegmentationNetwork, data: Labelled, head: str | None = None, batch: int = 16
) -> NDArray[np.int64]:
    """Confusion matrix [C, C] over all pixels of the data; the network is left in its mode."""
    training = network.training
    network.eval()
    classes = network.config.classes
    total = np.zeros((classes, classes), dtype=np.int64)
    for i in range(0, len(data.images), batch):
        part = data.take(slice(i, i + batch))
        prediction = network(to_tensor(part.images), head).argmax(1).numpy()
        total += confusion(part.labels, prediction, classes)
    network.train(training)
    return total
