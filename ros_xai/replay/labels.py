"""Answers of the segmentation node beside the image and the labels they belong to."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import String

from ros_xai.data.segmentation import CAMVID, IGNORE
from ros_xai.replay.bag import Bag
from ros_xai.replay.frames import ANSWER, LATCHED, answered, decoded_image, decoded_rgb
from ros_xai.replay.player import stamp_of
from ros_xai.ros.cdr import decode
from ros_xai.segmentation.metrics import confusion, iou, mean_iou, pixel_accuracy


@dataclass(frozen=True)
class LabelRoles:
    """Topics by what they are for: image and truth of the bag, labels and names of the outputs."""

    image: str | None
    truth: str | None
    labels: str
    names: str


@dataclass(frozen=True)
class LabelFrame:
    """One answer; labels and truth: uint8 [H,W], indices into CAMVID or IGNORE; image: uint8
    [H,W,3] rgb. Classes of the network that CAMVID lacks are IGNORE in `labels`."""

    stamp_ns: int
    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    image: NDArray[np.uint8] | None


def label_frames(
    bag: Bag, outputs: Bag, roles: LabelRoles, only: Collection[int] | None = None
) -> Iterator[LabelFrame]:
    """All answers, or those with a stamp of `only`, in the order they were given. What cannot be
    decoded is left out."""
    topics = {
        "image": roles.image,
        "truth": roles.truth,
        ANSWER: roles.labels,
        LATCHED: roles.names,
    }
    for answer, held in answered(bag, outputs, topics, only):
        stamp_ns, labels = stamp_of(answer.data), decoded_image(answer)
        if stamp_ns is None or labels is None or not held[LATCHED]:
            continue
        table = _to_camvid(decode(held[LATCHED][0].data, String).data)
        truth = decoded_image(held["truth"].get(stamp_ns))
        if truth is not None and truth.shape != labels.shape:
            truth = None
        yield LabelFrame(stamp_ns, table[labels], truth, decoded_rgb(held["image"].get(stamp_ns)))


def label_confusion(frame: LabelFrame) -> NDArray[np.int64] | None:
    """Confusion matrix [C+1,C+1] of CAMVID's classes and, last, all others; None without truth."""
    if frame.truth is None:
        return None
    labels = np.where(frame.labels == IGNORE, len(CAMVID), frame.labels)
    return confusion(frame.truth, labels, len(CAMVID) + 1)


def label_figures(matrix: NDArray[np.int64]) -> dict[str, float]:
    """`miou` over the classes that occur, `pixel_accuracy`, and `iou.<class>`."""
    if not matrix.sum():
        return {}
    each = {f"iou.{n}": float(v) for n, v in zip(CAMVID.names, iou(matrix)) if np.isfinite(v)}
    return {"miou": mean_iou(matrix), "pixel_accuracy": pixel_accuracy(matrix), **each}


def _to_camvid(names: str) -> NDArray[np.uint8]:
    """Table [256] from the network's labels to CAMVID's, by the names it published."""
    table = np.full(256, IGNORE, np.uint8)
    entries: list[dict[str, Any]] = json.loads(names)
    for entry in entries:
        if entry["name"] in CAMVID.names:
            table[entry["id"]] = CAMVID.names.index(entry["name"])
    return table
