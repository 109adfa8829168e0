"""Object rehearsal: cut-out objects of old classes, pasted into new images under a byte budget.

Source: Douillard et al., arXiv 2106.15287, section 4.4 (objects instead of whole images).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import IGNORE


@dataclass(frozen=True)
class Crop:
    """One object: mask bool [h, w], its n pixels uint8 [n, 3], class, and place (top, left)."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    label: int
    corner: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Storage of the pixels, and of the mask at one bit per pixel."""
        return self.pixels.nbytes + -(-self.mask.size // 8)


@dataclass
class ObjectMemory:
    """Crops per class, each class within `budget` bytes; a full class keeps a random sample."""

    budget: int
    minimum_area: int = 20
    crops: dict[int, list[Crop]] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)

    def nbytes(self, label: int) -> int:
        """Bytes in use by one class."""
        return sum(crop.nbytes for crop in self.crops.get(label, ()))

    def add(
        self,
        image: NDArray[np.uint8],
        label: NDArray[np.uint8],
        class_: int,
        generator: np.random.Generator,
    ) -> None:
        """Offer every connected region of `class_` in a labelled image (reservoir sampling)."""
        for crop in cut_objects(image, label, class_, self.minimum_area):
            if crop.nbytes > self.budget:
                continue
            kept = self.crops.setdefault(class_, [])
            self.seen[class_] = self.seen.get(class_, 0) + 1
            full = self.nbytes(class_) + crop.nbytes > self.budget
            if full and generator.random() >= len(kept) / self.seen[class_]:
                continue
            while self.nbytes(class_) + crop.nbytes > self.budget:
                kept.pop(int(generator.integers(len(kept))))
            kept.append(crop)

    def draw(self, generator: np.random.Generator) -> Crop | None:
        """A crop of a uniformly drawn class; None when the memory is empty."""
        classes = sorted(label for label, kept in self.crops.items() if kept)
        if not classes:
            return None
        kept = self.crops[classes[int(generator.integers(len(classes)))]]
        return kept[int(generator.integers(len(kept)))]


def cut_objects(
    image: NDArray[np.uint8], label: NDArray[np.uint8], class_: int, minimum_area: int
) -> list[Crop]:
    """Connected regions of one class with at least `minimum_area` pixels."""
    mask = label == class_
    count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    crops = []
    for i in range(1, count):
        left, top, width, height, area = (int(v) for v in stats[i])
        if area >= minimum_area:
            window = np.s_[top : top + height, left : left + width]
            region = components[window] == i
            crops.append(Crop(image[window][region], region, class_, (top, left)))
    return crops


def paste(
    image: NDArray[np.uint8],
    label: NDArray[np.uint8],
    crop: Crop,
    generator: np.random.Generator | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """The image and label with the object pasted where it was in its own scene.

    With a `generator` its column is drawn; it keeps its row (streets have the road below and the
    sky above). It moves as far as it has to where it does not fit.
    Returns copies and the bool mask [H, W] of pasted pixels; the rest of the label is untouched.

    Raises:
        ValueError: the object is larger than the image.
    """
    height, width = crop.mask.shape
    if height > image.shape[0] or width > image.shape[1]:
        raise ValueError(f"object {crop.mask.shape} does not fit into image {image.shape[:2]}")
    top = min(crop.corner[0], image.shape[0] - height)
    room = image.shape[1] - width
    left = min(crop.corner[1], room) if generator is None else int(generator.integers(room + 1))
    pasted = np.zeros(label.shape, dtype=bool)
    pasted[top : top + height, left : left + width] = crop.mask
    image, label = image.copy(), label.copy()
    image[pasted] = crop.pixels
    label[pasted] = crop.label
    return image, label, pasted


def erase_context(
    image: NDArray[np.uint8], label: NDArray[np.uint8], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Only the pixels of `kept` bool [H, W], on the image's mean colour; every other is ignored.

    Half of the pasted images are treated so in the paper's mixing: the old class must be known by
    its own look and not by a context that is not its own.
    """
    mean = image.reshape(-1, 3).mean(0).astype(np.uint8)
    return (
        np.where(kept[..., None], image, mean),
        np.where(kept, label, np.uint8(IGNORE)),
    )
