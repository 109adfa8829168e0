"""Layout generators on held-out palettes: assisted activation, concatenation, no palette at all.

All arms have the same network, steps and data (rendered streets) and three seeds. Then, with the
networks that ship: what edits leave alone, and whether generated pairs help a segmenter that has 60
images of CamVid.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks import results
from benchmarks.driving_renders import camvid_available
from benchmarks.seeded import Finished, interval
from ros_xai.data.segmentation import CAMVID, LabelledFolder
from ros_xai.generation.images import ImageGenerator, StyleBank
from ros_xai.generation.layout_network import LayoutConfig
from ros_xai.generation.layouts import LayoutGenerator
from ros_xai.generation.palette import (
    PaletteModel,
    fit_palette,
    frechet_distance,
    kl_divergence,
    proportions_of,
)
from ros_xai.segmentation.metrics import mean_iou
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training.generation_data import fitted, world_layouts
from ros_xai.training.generation_ship import style_bank
from ros_xai.training.layout import LayoutRecipe, LayoutTrainer
from ros_xai.training.loop import Batch, LoopConfig, fit
from ros_xai.training.segmentation import Augmentation, Labelled, Supervised, draw, score

COMMAND = "ros_xai bench palette"
CLASSES = len(CAMVID)


@dataclass(frozen=True)
class BenchConfig:
    """Layouts of 16x32 and few steps: twelve trainings in about fifteen minutes of one core."""

    recipe: LayoutRecipe = field(
        default_factory=lambda: LayoutRecipe(
            LayoutConfig(widths=(64, 64, 48)), steps=(150, 350), batch=12, edits=0.0
        )
    )
    palettes: int = 400
    real: int = 60
    generated: int = 240
    segmenter_steps: int = 300


CONFIG = BenchConfig()
ARMS: dict[str, dict[str, Any]] = {
    "assisted": {"conditioning": "assisted"},
    "concatenated": {"conditioning": "concatenated"},
    "concatenated+recovery": {"conditioning": "concatenated", "matching": 20.0},
    "unconditional": {"conditioning": "unconditional"},
}


def layouts_of(arm: str, seed: int, train: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """One generator, asked for the palettes of held-out streets and for drawn ones."""
    changes = dict(ARMS[arm])
    matching = changes.pop("matching", 0.0)
    shape = replace(CONFIG.recipe.network, **changes)
    recipe = replace(CONFIG.recipe, network=shape, matching=matching, seed=seed)
    palettes = fit_palette(proportions_of(train, CLASSES), most=12, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        network = LayoutTrainer(recipe, train, palettes).train(Path(folder), show=False)
    generator = LayoutGenerator(network, palettes, CAMVID.names)
    rng = np.random.default_rng(seed)
    real = proportions_of(_at(held_out, shape.size), CLASSES)
    asked = real[rng.permutation(len(real))[: CONFIG.palettes]]
    achieved = proportions_of(generator.generate(asked, seed), CLASSES)
    drawn = palettes.sample(CONFIG.palettes, rng)
    free = proportions_of(generator.generate(drawn, seed + 1), CLASSES)
    return {
        "match": float(np.abs(asked - achieved).mean()),
        "kl": float(kl_divergence(asked, achieved).mean()),
        "fsd": frechet_distance(100 * real, 100 * free),
    }


def edits(count: int = 200) -> dict[str, Any]:
    """Boxes of held-out layouts edited by the shipped generator."""
    generator, labels = LayoutGenerator.load(), world_layouts(True)
    rng = np.random.default_rng(0)
    changed_outside, errors = 0, []
    for k in range(count):
        label = labels[int(rng.integers(len(labels)))]
        other = labels[int(rng.integers(len(labels)))]
        height, width = (int(rng.integers(n // 4, n // 2 + 1)) for n in label.shape)
        top = int(rng.integers(label.shape[0] - height + 1))
        left = int(rng.integers(label.shape[1] - width + 1))
        box = np.s_[top : top + height, left : left + width]
        asked = proportions_of(other[box][None], CLASSES)[0]
        edited = generator.edit(label, (left, top, left + width, top + height), asked, k)
        mask = np.ones(label.shape, bool)
        mask[box] = False
        changed_outside += int((edited[mask] != label[mask]).sum())
        errors.append(np.abs(proportions_of(edited[box][None], CLASSES)[0] - asked).mean())
    return {
        "edits": count,
        "pixels_changed_outside": changed_outside,
        "match": float(np.mean(errors)),
    }


def segmenter(arm: str, seed: int) -> dict[str, Any]:
    """mIoU on CamVid's validation of a segmenter from 60 pairs, with or without generated ones."""
    folder = _camvid()
    painter = ImageGenerator.load()
    everything = LabelledFolder(folder / "train", CAMVID)
    chosen = np.random.default_rng([seed, 1]).permutation(len(everything))[: CONFIG.real]
    real = fitted([everything[int(i)] for i in chosen], painter.size)
    train = real
    if arm == "60 + generated":
        made = generated_like(real, painter, seed)
        train = Labelled(*(np.concatenate(c) for c in zip(real, made)))
    weights = np.ones(len(train.images))
    weights[len(real.images) :] = len(real.images) / max(len(train.images) - len(real.images), 1)
    torch.manual_seed(seed)
    network = SegmentationNetwork(NetworkConfig(widths=(12, 24, 48, 96), blocks=1, decoder=32))

    def make_batch(rng: np.random.Generator) -> Batch:
        # as many real samples as generated ones
        index = rng.choice(len(weights), 64, p=weights / weights.sum())
        return draw(train.take(index), 8, rng, Augmentation())

    loop = LoopConfig(CONFIG.segmenter_steps, seed, 2e-3, final_rate=0.05, warm_up=20)
    with tempfile.TemporaryDirectory() as where:
        fit(Supervised(network), make_batch, loop, Path(where), show=False)
    validation = fitted(LabelledFolder(folder / "val", CAMVID), painter.size)
    return {"mIoU": mean_iou(score(network, validation))}


def generated_like(real: Labelled, painter: ImageGenerator, seed: int) -> Labelled:
    """Pairs with palettes like those of the real labels, in the styles of the real images."""
    layouts = LayoutGenerator.load()
    palettes: PaletteModel = fit_palette(proportions_of(real.labels, CLASSES), most=5, seed=seed)
    rng = np.random.default_rng([seed, 2])
    labels = layouts.generate(palettes.sample(CONFIG.generated, rng), seed, painter.size)
    bank: StyleBank = style_bank(painter.network, real, seed)
    dressed = ImageGenerator(painter.network, bank, painter.names)
    return Labelled(np.stack([dressed.paint(label, rng) for label in labels]), labels)


def _camvid() -> Path:
    return Path(os.environ["ROS_XAI_DATA"]) / "camvid"


def _at(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shape = size[::-1]
    return np.stack([cv2.resize(x, shape, interpolation=cv2.INTER_NEAREST_EXACT) for x in labels])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", default=",".join(ARMS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    finished = Finished("palette", (asdict(CONFIG), ARMS))
    train, held_out = world_layouts(False), world_layouts(True)
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for arm in options.arms.split(","):
            key = {"part": "layouts", "arm": arm, "seed": seed}
            compute = lambda a=arm, s=seed: layouts_of(a, s, train, held_out)  # noqa: E731
            rows.setdefault(arm, []).append(finished.get(key, compute))
    figures: dict[str, Any] = {
        arm: {name: interval([r[name] for r in found]) for name in ("match", "kl", "fsd")}
        for arm, found in rows.items()
    }
    if {"assisted", "concatenated"} <= set(figures):
        pair = (figures[arm]["match"]["mean"] for arm in ("assisted", "concatenated"))
        figures["match_assisted_over_concatenated"] = round(next(pair) / next(pair), 4)
    figures["edits"] = finished.get({"part": "edits"}, edits)
    if camvid_available():
        scores: dict[str, list[float]] = {"60 real": [], "60 + generated": []}
        for seed in range(options.seeds):
            for arm, values in scores.items():
                key = {"part": "segmenter", "arm": arm, "seed": seed}
                result = finished.get(key, lambda a=arm, s=seed: segmenter(a, s))
                values.append(result["mIoU"])
        gains = np.subtract(scores["60 + generated"], scores["60 real"]).tolist()
        figures["segmenter_mIoU"] = {k: interval(v) for k, v in scores.items()}
        figures["segmenter_gain"] = interval(gains)
    units = "match: mean |asked - achieved| of arg-max layouts; fsd: percent squared; kl: nats"
    meta = {"seeds": options.seeds, "config": asdict(CONFIG), "units": units}
    print(results.write("palette", " ".join([COMMAND, *arguments]), figures, **meta))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
