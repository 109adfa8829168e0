"""Labels and confidence of one image: the class that nodes and scripts use."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ros_xai.data.segmentation import Classes
from ros_xai.engines.base import Engine
from ros_xai.engines.loading import load_for
from ros_xai.segmentation.bundle import Bundle, BundleError, load_bundle
from ros_xai.segmentation.deployed import make_engine

SHIPPED = Path(__file__).parents[1] / "weights" / "segmentation.safetensors"
MAX_PIXELS = 320 * 240


class Segmentation(NamedTuple):
    """labels: uint8 [H, W], indices into the segmenter's classes; confidence: float32 [H, W],
    the probability of the label, in (0, 1]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]


class Segmenter:
    """image uint8 [H, W, 3] rgb -> Segmentation, at the image's size.

    Larger images than `max_pixels` are shrunk for the network, at their own aspect.
    """

    def __init__(self, engine: Engine, classes: Classes, max_pixels: int = MAX_PIXELS) -> None:
        self.engine, self.classes, self.max_pixels = engine, classes, max_pixels

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        engine: str = "torch",
        threads: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> Segmenter:
        """The shipped network, or a .safetensors file with its .json card beside it.

        Raises BundleError when the pair is missing, damaged, or gives no answer on `engine`.
        """
        return cls.of(load_bundle(weights or SHIPPED), engine, threads, max_pixels)

    @classmethod
    def compressed(
        cls, folder: str | Path, threads: int = 0, max_pixels: int = MAX_PIXELS
    ) -> tuple[Segmenter, str]:
        """The network of a bundle by `ros_xai prune segmentation`, and the bundle's digest.

        Raises EngineError for a bundle that cannot be used.
        """
        engine, bundle = load_for("segmentation", folder, threads)
        entries = bundle.card["classes"]
        names = tuple(str(entry["name"]) for entry in entries)
        colors = tuple((r, g, b) for r, g, b in (entry["color"] for entry in entries))
        values = tuple((i,) for i in range(len(names)))
        return cls(engine, Classes(names, colors, values), max_pixels), bundle.digest

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        engine: str = "torch",
        threads: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> Segmenter:
        """A segmenter of a loaded bundle, tried on one image before it is handed out."""
        network = make_engine(bundle.network, engine, threads)
        segmenter = cls(network, bundle.classes, max_pixels)
        confidence = segmenter(np.full((64, 96, 3), 128, np.uint8)).confidence
        least = 1 / len(bundle.classes)
        if not (confidence >= least - 1e-3).all() or not (confidence <= 1 + 1e-3).all():
            raise BundleError(
                f"{network.name} answers a grey image with confidences outside [{least:.3f}, 1]"
            )
        return segmenter

    def __call__(self, image: NDArray[np.uint8]) -> Segmentation:
        """Raises ValueError for anything but uint8 [H, W, 3] of at least 16 x 16 pixels."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"expected an rgb image uint8 [H, W, 3]; got {image.dtype} {list(image.shape)}"
            )
        height, width = image.shape[:2]
        if min(height, width) < 16:
            raise ValueError(f"expected at least 16 x 16 pixels; got {width} x {height}")
        rows, columns = network_size(height, width, self.max_pixels)
        if (rows, columns) != (height, width):
            image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        inputs = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        outputs = self.engine({"image": inputs})
        labels, confidence = outputs["labels"][0].astype(np.uint8), outputs["confidence"][0]
        if (rows, columns) != (height, width):
            size = (width, height)
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
            confidence = cv2.resize(confidence, size, interpolation=cv2.INTER_LINEAR)
        return Segmentation(labels, confidence)


def network_size(height: int, width: int, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Rows and columns the network works at: the image's, or shrunk to about `max_pixels` and then
    multiples of 8: engines lose time on odd rows and columns."""
    scale = float(np.sqrt(max_pixels / (height * width)))
    if scale >= 1:
        return height, width
    rows, columns = (max(16, 8 * round(n * scale / 8)) for n in (height, width))
    return rows, columns
