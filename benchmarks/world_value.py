"""What the synthetic world is worth: a segmenter that never saw a real image, on real streets.

`ros_xai bench world-value`. A network trained on renders alone is scored on CamVid's validation
images against the most frequent class per pixel position: that of the renders' labels (all that a
method without real data can know), and that of CamVid's own training labels (which it cannot).
mIoU over the classes that both the renders and CamVid's validation labels hold; CamVid's labels
serve nothing but this score and the second map.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.driving_renders import camvid, camvid_available, real_data
from benchmarks.seeded import Finished, interval
from ros_xai.data.segmentation import (
    CAMVID,
    IGNORE,
    LabelledFolder,
    WorldSequences,
    resized_samples,
)
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.metrics import confusion, iou, mean_iou, pixel_accuracy
from ros_xai.segmentation.network import SegmentationNetwork
from ros_xai.segmentation.segmenter import SHIPPED, Segmenter
from ros_xai.training.loop import LoopConfig
from ros_xai.training.segmentation import Augmentation, Labelled, score
from ros_xai.training.segmentation_recipes import Recipe, start, supervised
from ros_xai.world.dataset import PRESETS, WORLD_VERSION, DatasetConfig, write_dataset

COMMAND = "ros_xai bench world-value"
Confusion = NDArray[np.int64]


@dataclass(frozen=True)
class ValueConfig:
    """Renders: towns of every network, five domains, a mounting and focal length for each drive."""

    renders: DatasetConfig = field(
        default_factory=lambda: DatasetConfig(
            **PRESETS["segmentation"]
            | {"kind": "segmentation", "width": 160, "height": 120, "stride": 15, "frames": 10}
        )
    )
    recipe: Recipe = field(
        default_factory=lambda: Recipe(
            LoopConfig(1500, learning_rate=2e-3, final_rate=0.02, warm_up=50),
            augmentation=Augmentation(zoom=0.5, jitter=0.5),
        )
    )


CONFIG = ValueConfig()


@cache
def rendered() -> Labelled:
    """The training images and labels."""
    height, width = CONFIG.renders.height, CONFIG.renders.width
    samples = WorldSequences(write_dataset(CONFIG.renders, jobs=1))
    return Labelled(*resized_samples(samples, height, width))


@cache
def validation() -> Labelled:
    """CamVid's validation images, at the size of the renders."""
    return camvid("val")


def most_frequent(labels: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """The most frequent class [H, W] of labels [N, H, W] at every pixel; the first of equals."""
    counts = np.stack([(labels == c).sum(0) for c in range(classes)])
    return counts.argmax(0).astype(np.uint8)


def score_map(prediction: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Confusion:
    """Confusion matrix of one and the same answer [H, W] to all images with labels [N, H, W]."""
    return confusion(labels, np.broadcast_to(prediction, labels.shape), len(CAMVID))


def shared_classes() -> list[int]:
    """Classes that occur both in the renders and in CamVid's validation labels."""
    seen = [set(np.unique(data.labels).tolist()) for data in (rendered(), validation())]
    return sorted(set.intersection(*seen) - {IGNORE})


def figures_of(matrix: Confusion) -> dict[str, Any]:
    """mIoU over the shared classes, their IoUs by name, and pixel accuracy."""
    shared, each = shared_classes(), iou(matrix)
    return {
        "miou": round(mean_iou(matrix, shared), 4),
        "pixel_accuracy": round(pixel_accuracy(matrix), 4),
        "iou": {CAMVID.names[c]: round(float(each[c]), 4) for c in shared},
    }


def trained(seed: int) -> SegmentationNetwork:
    """A network of this seed, trained on the renders."""
    recipe = replace(CONFIG.recipe, loop=replace(CONFIG.recipe.loop, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        return supervised(start(len(CAMVID), None, seed), rendered(), recipe, Path(folder))


def scored(seed: int) -> dict[str, Any]:
    """Figures of the network of this seed on CamVid."""
    return figures_of(score(trained(seed), validation()))


def constant(of: str) -> dict[str, Any]:
    """The most frequent class per pixel position, learned from the labels of one data set."""
    labels = rendered().labels if of == "renders" else camvid("train").labels
    return figures_of(score_map(most_frequent(labels, len(CAMVID)), validation().labels))


def shipped() -> dict[str, Any]:
    """The network that is shipped, as it is deployed: on the images at their own size."""
    bundle = load_bundle(SHIPPED)
    segment = Segmenter.of(bundle)
    samples = LabelledFolder(real_data() / "camvid" / "val", CAMVID)
    matrix = sum(confusion(s.label, segment(s.image).labels, len(CAMVID)) for s in samples)
    return {"sha256": bundle.digest[:12], **figures_of(np.asarray(matrix))}


def measure(seeds: list[int], name: str) -> dict[str, Any]:
    """All figures; finished ones are not repeated."""
    finished = Finished(name, (CONFIG, WORLD_VERSION))
    maps = {
        f"most frequent class, {of}": finished.get({"arm": of}, lambda of=of: constant(of))
        for of in ("renders", "camvid train")
    }
    runs = [finished.get({"arm": "network", "seed": s}, lambda s=s: scored(s)) for s in seeds]
    floor = maps["most frequent class, renders"]["miou"]
    found = {
        "classes": [CAMVID.names[c] for c in shared_classes()],
        "images": len(validation().images),
        **maps,
        "network, renders only": runs,
        "network, miou": interval([r["miou"] for r in runs]),
        "network less most frequent class of the renders": interval(
            [r["miou"] - floor for r in runs]
        ),
    }
    if SHIPPED.is_file():
        found["shipped network"] = shipped()
    return found


def main(argv: list[str]) -> None:
    """Entry of `ros_xai bench world-value`."""
    parser = argparse.ArgumentParser(COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args(argv)
    if not camvid_available():
        parser.error("expected ROS_XAI_DATA to name a folder with camvid/train and camvid/val")
    found = measure(list(range(arguments.seeds)), "world_value")
    command = f"{COMMAND} --seeds {arguments.seeds}"
    results.write("world_value", command, found, settings=asdict(CONFIG))


if __name__ == "__main__":
    main(sys.argv[1:])
