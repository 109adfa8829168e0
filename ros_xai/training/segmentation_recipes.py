"""From data sets to a trained segmenter: one function per family of methods.

Each trains (or resumes) under `folder` and returns a network with the single head `main`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from ros_xai.data.segmentation import IGNORE, Classes
from ros_xai.segmentation import plop as growth
from ros_xai.segmentation.bundle import Bundle, BundleError
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training import fishr, mtuda, plop
from ros_xai.training.checkpoint import digest
from ros_xai.training.distributed import Process
from ros_xai.training.loop import ALONE, About, Batch, LoopConfig, fit
from ros_xai.training.segmentation import Augmentation, Images, Labelled, Supervised, draw

ADAPTING = get_args(mtuda.Method)
GENERALISING = ("fishr", "vrex", "irm", "coral")
GROWING = tuple(plop.OBJECTIVES)
METHODS = ("supervised", *GENERALISING, *ADAPTING, *GROWING)
BACKGROUND = "background"
# Fishr's is the paper's default; with the others' the penalty is of the size of the risk.
PENALTIES = {"fishr": 1000.0, "vrex": 10.0, "irm": 10.0, "coral": 1.0}


@dataclass(frozen=True)
class Recipe:
    """What all methods share."""

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=4000, learning_rate=2e-3, final_rate=0.02, warm_up=100
        )
    )
    batch: int = 8
    augmentation: Augmentation = field(default_factory=Augmentation)
    pixels: int = 2048  # per domain, of the penalties


def start(classes: int, bundle: Bundle | None, seed: int) -> SegmentationNetwork:
    """The bundle's network, or a new one."""
    torch.manual_seed(seed)
    network = SegmentationNetwork(NetworkConfig(classes=classes))
    if bundle is not None:
        if bundle.network.config.classes != classes:
            raise BundleError(
                f"the weights know {bundle.network.config.classes} classes, the data {classes}"
            )
        network = copy.deepcopy(bundle.network)
    return network.to(memory_format=torch.channels_last)


def supervised(
    network: SegmentationNetwork,
    data: Labelled,
    recipe: Recipe,
    folder: Path,
    process: Process = ALONE,
) -> SegmentationNetwork:
    """Cross-entropy on labelled images."""

    def make_batch(rng: np.random.Generator) -> Batch:
        return draw(data, recipe.batch, rng, recipe.augmentation)

    about = _about("supervised", recipe, data)
    fit(Supervised(network), make_batch, recipe.loop, folder, process, about=about)
    return network.cpu().eval()


def generalise(
    network: SegmentationNetwork,
    domains: Sequence[Labelled],
    method: str,
    recipe: Recipe,
    folder: Path,
    process: Process = ALONE,
) -> SegmentationNetwork:
    """A penalty that makes the domains alike; it is switched on after a third of the steps."""
    if len(domains) < 2:
        raise ValueError(f"--method {method} compares domains: expected two or more --source")
    width = network.config.decoder
    penalty = (
        fishr.Fishr(len(domains), network.config.classes, width)
        if method == "fishr"
        else getattr(fishr, method)
    )
    module = fishr.GeneralizedSegmentation(network, penalty, PENALTIES[method])
    per_domain = max(1, recipe.batch // len(domains))

    def make_batch(rng: np.random.Generator) -> Batch:
        return fishr.domain_batch(domains, per_domain, recipe.pixels, rng, recipe.augmentation)

    anneal = recipe.loop.steps // 3
    about = {**_about(method, recipe, *domains), "pixels": recipe.pixels, "weight": module.weight}
    fishr.fit_annealed(
        module, make_batch, recipe.loop, anneal, folder, process, show=True, about=about
    )
    return network.cpu().eval()


def adapt(
    network: SegmentationNetwork,
    source: Labelled,
    targets: Sequence[Images],
    config: mtuda.AdaptationConfig,
    recipe: Recipe,
    folder: Path,
    process: Process = ALONE,
) -> SegmentationNetwork:
    """Adversarial adaptation to unlabelled targets; `recipe.batch` is shared by all domains."""
    if not targets:
        raise ValueError(f"--method {config.method} adapts: expected --target or --target-bag")
    if config.method != "source-only":
        _check_size(source, config.method, recipe, 32)  # discriminators halve five times
    module = mtuda.Adaptation(network, config, len(targets))
    count = max(1, recipe.batch // (1 + len(targets)))

    def make_batch(rng: np.random.Generator) -> Batch:
        return mtuda.adaptation_batch(source, targets, count, rng, recipe.augmentation)

    about = _about(config.method, recipe, source)
    about = {**about, "targets": digest(*targets), **asdict(config)}
    fit(module, make_batch, recipe.loop, folder, process, about=about)
    return module.cpu().deployed()


def grow(
    bundle: Bundle,
    data: Labelled,
    classes: Classes,
    method: str,
    recipe: Recipe,
    folder: Path,
    process: Process = ALONE,
) -> tuple[SegmentationNetwork, Classes]:
    """One continual step: the bundle's network learns the classes of `classes` that it lacks.

    The data label the new classes and call the rest `background`, a class they must have.
    Returns the network and the classes of its channels; background comes first.
    """
    if BACKGROUND not in classes.names:
        raise ValueError(
            f"a continual step expects a class named {BACKGROUND} in classes.yaml: "
            "whatever is not labelled"
        )
    old, known = _with_background(bundle)
    new = [name for name in classes.names if name not in known.names]
    grown = Classes(
        names=(*known.names, *new),
        colors=(*known.colors, *(classes.colors[classes.names.index(name)] for name in new)),
        values=tuple((i,) for i in range(len(known) + len(new))),
    )
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[: len(classes)] = [grown.names.index(name) for name in classes.names]
    data = Labelled(data.images, table[data.labels])
    step = plop.Method(
        method,
        replace(plop.FITTED, entropy=method == "plop"),
        recipe.batch,
        recipe.augmentation,
    )
    if method == "plop":  # every strip of the finest scale has a pixel at stride 16
        _check_size(data, method, recipe, 16 * (max(step.config.scales) - 1) + 1)
    # A tenth of the rate of a first training, as in the paper.
    loop = replace(recipe.loop, learning_rate=recipe.loop.learning_rate / 10)
    network = plop.learn_step(old, data, len(new), step, loop, folder, process=process, show=True)
    return network.cpu(), grown


def _check_size(data: Labelled, method: str, recipe: Recipe, least: int) -> None:
    """Raises ValueError where what is learned from has fewer pixels a side than `least`."""
    shrink = recipe.augmentation.shrink
    height, width = (round(n * shrink) for n in data.labels.shape[1:])
    if min(height, width) < least:
        raise ValueError(
            f"--method {method} expects to learn from {least}x{least} pixels or more; got "
            f"{width}x{height}, which is {shrink} of the images: raise --height and --width"
        )


def _about(method: str, recipe: Recipe, *data: Labelled) -> About:
    return {
        "method": method,
        "data": digest(*(column for part in data for column in part)),
        "batch": recipe.batch,
        "augmentation": asdict(recipe.augmentation),
    }


@torch.no_grad()
def _with_background(bundle: Bundle) -> tuple[SegmentationNetwork, Classes]:
    """The network with the background as channel 0: moved there, or added where it is missing."""
    known = bundle.classes
    if known.names[0] == BACKGROUND:
        return bundle.network, known
    network = copy.deepcopy(bundle.network)
    entries = dict(zip(known.names, known.colors))
    if BACKGROUND in entries:
        order = sorted(range(len(known)), key=lambda c: known.names[c] != BACKGROUND)
        for head in network.heads.values():
            for tensor in head.classifier.parameters():
                tensor.copy_(tensor[order])
    else:
        for head in network.heads.values():
            head.classifier = growth.with_background(head.classifier)
        network.config = replace(network.config, classes=network.config.classes + 1)
    entries = {BACKGROUND: entries.pop(BACKGROUND, (0, 0, 0)), **entries}
    values = tuple((i,) for i in range(len(entries)))
    return network, Classes(tuple(entries), tuple(entries.values()), values)
