"""Objects of finished steps, shown again while a network learns new classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation.plop import BACKGROUND
from ros_xai.segmentation.rehearsal import ObjectMemory, erase_context, paste
from ros_xai.training.segmentation import Labelled


@dataclass(frozen=True)
class RehearsalConfig:
    """How remembered objects are shown: in a `share` of the images, where they were or in any
    column, and with the context `erased` in a share of those."""

    share: float = 0.25
    in_place: bool = True
    erased: float = 0.0


def rehearse(
    data: Labelled,
    memory: ObjectMemory,
    rng: np.random.Generator,
    config: RehearsalConfig = RehearsalConfig(),
) -> Labelled:
    """A remembered object pasted into some of the images. What the step itself labels is neither
    covered nor erased: it is scarce."""
    images, labels = data.images.copy(), data.labels.copy()
    for i in np.flatnonzero(rng.random(len(images)) < config.share):
        if (crop := memory.draw(rng)) is None:
            continue
        taught = ~np.isin(labels[i], (BACKGROUND, IGNORE))
        place = None if config.in_place else rng
        image, label, pasted = paste(images[i], labels[i], crop, place)
        image[taught], label[taught] = images[i][taught], labels[i][taught]
        if rng.random() < config.erased:
            image, label = erase_context(image, label, pasted | taught)
        images[i], labels[i] = image, label
    return Labelled(images, labels)


def remember(
    memory: ObjectMemory, data: Labelled, channels: Sequence[int], rng: np.random.Generator
) -> None:
    """Offer the objects of a finished step's new classes, by channel, to the memory."""
    for image, label in zip(data.images, data.labels):
        for channel in channels:
            memory.add(image, label, channel, rng)
