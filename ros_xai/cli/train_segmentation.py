"""`ros_xai train segmentation`: train, generalise, adapt or grow a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ros_xai.data.segmentation import (
    IGNORE,
    Classes,
    DataError,
    ImageFolder,
    LabelledFolder,
    WorldSequences,
    bag_images,
    resized,
    resized_samples,
)
from ros_xai.segmentation.bundle import Bundle, BundleError, load_bundle, save_bundle
from ros_xai.segmentation.metrics import iou, mean_iou
from ros_xai.segmentation.network import SegmentationNetwork
from ros_xai.training import segmentation_recipes as recipes
from ros_xai.training.distributed import Process, process_group
from ros_xai.training.mtuda import AdaptationConfig
from ros_xai.training.segmentation import Augmentation, Images, Labelled, score
from ros_xai.world.dataset import PRESETS, DatasetConfig, write_dataset

HELD_OUT = 8  # every n-th labelled sample is kept out of training and scored
# Windows of half to all of the image, learned at 0.7 of its size: from 0.7 to 1.4 of its scale.
AUGMENTATION = Augmentation(zoom=0.5, jitter=0.4, rough=0.5, shrink=0.7)


def segmentation(
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Labelled data: a folder (image/, label/, classes.yaml), a world data "
            "set's folder, `world` (the default), or `world:DOMAIN`. Repeat it for several domains."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help=", ".join(recipes.METHODS))] = "supervised",
    target: Annotated[
        list[Path] | None, typer.Option(help="Folder of unlabelled images of a target domain.")
    ] = None,
    target_bag: Annotated[
        list[Path] | None, typer.Option(help="Bag whose images are a target domain, unlabelled.")
    ] = None,
    topic: Annotated[str, typer.Option(help="Images of the bags.")] = "/camera/image",
    every: Annotated[int, typer.Option(min=1, help="Use every n-th image of a bag.")] = 5,
    weights: Annotated[
        Path | None, typer.Option(help="Start from these weights; growing needs them.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Weights, log, checkpoints.")] = Path(
        "out/train-segmentation"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 4000,
    batch: Annotated[int, typer.Option(min=1, help="Images per step.")] = 8,
    height: Annotated[int, typer.Option(min=32, help="Rows of the training images.")] = 240,
    width: Annotated[int, typer.Option(min=32, help="Columns of the training images.")] = 320,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
) -> None:
    """Train a segmenter; adapt it to drives without labels; or teach it new classes.

    An interrupted run goes on where it was; another one needs another --out. Several processes:
    `torchrun --nproc-per-node 2 --no-python ros_xai train segmentation ...`

    \b
    Examples:
      ros_xai train segmentation --source world
      ros_xai train segmentation --source my/data
      ros_xai train segmentation --method fishr --source world:clear --source world:dusk
      ros_xai train segmentation --method mtkt --target-bag a.mcap --target-bag b.mcap
      ros_xai train segmentation --method plop --source my/scooters --weights old.safetensors
    """
    if method not in recipes.METHODS:
        raise typer.BadParameter(f"expected one of {', '.join(recipes.METHODS)}; got {method}")
    if (target or target_bag) and method not in recipes.ADAPTING:
        raise typer.BadParameter(
            f"--method {method} learns nothing from --target and --target-bag; "
            f"expected one of {', '.join(recipes.ADAPTING)} with them"
        )
    recipe = recipes.Recipe(batch=batch, augmentation=AUGMENTATION)
    recipe = replace(recipe, loop=replace(recipe.loop, steps=steps, seed=seed))
    try:
        bundle = load_bundle(weights) if weights else None
        with process_group() as process:
            with process.in_turn():  # the first one renders
                domains, classes = _labelled(source or ["world"], height, width)
            unlabelled = [resized(ImageFolder(folder), height, width) for folder in target or ()]
            unlabelled += [
                resized(bag_images(bag, topic, every), height, width) for bag in target_bag or ()
            ]
            # Data to grow by call old classes background: no score could come of them.
            every_nth = None if method in recipes.GROWING else HELD_OUT
            parts = [_split(domain, every_nth) for domain in domains]
            train, held_out = [p[0] for p in parts], _joined([p[1] for p in parts])
            network, classes = _train(
                method, train, classes, unlabelled, bundle, recipe, out, process
            )
            if process.is_first:
                command = " ".join(f"--source {s}" for s in source or ["world"])
                provenance = {"method": method, "data": command, "seed": seed, "steps": steps}
                _finish(network, classes, held_out, provenance, out)
    except (DataError, BundleError, OSError, ValueError, FloatingPointError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _train(
    method: str,
    domains: list[Labelled],
    classes: Classes,
    targets: Sequence[Images],
    bundle: Bundle | None,
    recipe: recipes.Recipe,
    out: Path,
    process: Process,
) -> tuple[SegmentationNetwork, Classes]:
    folder = out / "checkpoints"
    if method in recipes.GROWING:
        if bundle is None:
            raise ValueError(f"--method {method} grows a network: expected --weights")
        data = _joined(domains)
        return recipes.grow(bundle, data, classes, method, recipe, folder, process)
    if bundle is not None and bundle.classes.names != classes.names:
        raise BundleError(
            f"the weights know {', '.join(bundle.classes.names)}; "
            f"the data {', '.join(classes.names)}; to learn new ones use --method plop"
        )
    network = recipes.start(len(classes), bundle, recipe.loop.seed)
    if method in recipes.GENERALISING:
        network = recipes.generalise(network, domains, method, recipe, folder, process)
    elif method in recipes.ADAPTING:
        config = AdaptationConfig(method=method)  # type: ignore[arg-type]
        if method == "mtkt":
            config = replace(config, teacher_steps=recipe.loop.steps // 4)
        source = _joined(domains)
        network = recipes.adapt(network, source, targets, config, recipe, folder, process)
    else:
        network = recipes.supervised(network, _joined(domains), recipe, folder, process)
    return network, classes


def _labelled(sources: list[str], height: int, width: int) -> tuple[list[Labelled], Classes]:
    """One labelled set per source, all of the same classes."""
    opened = [_open(source) for source in sources]
    classes = opened[0].classes
    for name, data in zip(sources, opened):
        if data.classes.names != classes.names:
            raise DataError(
                f"{name} has the classes {', '.join(data.classes.names)}; "
                f"{sources[0]} has {', '.join(classes.names)}"
            )
    if len(set(classes.names)) < len(classes):
        raise DataError(f"{sources[0]}: expected different classes; got {', '.join(classes.names)}")
    domains = [Labelled(*resized_samples(data, height, width)) for data in opened]
    for name, domain in zip(sources, domains):
        if (domain.labels == IGNORE).all():
            raise DataError(f"{name}: no pixel of {len(domain.labels)} labels has a class")
    return domains, classes


def _open(source: str) -> LabelledFolder | WorldSequences:
    if source == "world" or source.startswith("world:"):
        preset = PRESETS["segmentation"]
        if domain := source.partition(":")[2]:
            preset = {**preset, "domains": (domain,)}
        typer.echo(f"rendering {source}, once")
        return WorldSequences(write_dataset(DatasetConfig(kind="segmentation", **preset)))
    if any(Path(source).glob("sequence_*.npz")):
        return WorldSequences(source)
    return LabelledFolder(source)


def _split(data: Labelled, every: int | None) -> tuple[Labelled, Labelled]:
    """Training samples and every so many-th one, which is scored; of None all and nothing."""
    number = np.arange(len(data.images))
    held_out = number < 0 if every is None else number % every == every - 1
    return data.take(np.flatnonzero(~held_out)), data.take(np.flatnonzero(held_out))


def _joined(parts: Sequence[Labelled]) -> Labelled:
    return Labelled(*(np.concatenate(column) for column in zip(*parts)))


def _finish(
    network: SegmentationNetwork,
    classes: Classes,
    held_out: Labelled,
    provenance: dict[str, object],
    out: Path,
) -> None:
    """Score on the held-out samples, save the bundle, say how to use it."""
    if (held_out.labels != IGNORE).any():
        matrix = score(network, held_out)
        provenance["held_out"] = {"images": len(held_out.images), "mIoU": mean_iou(matrix)}
        for name, value in zip(classes.names, iou(matrix)):
            typer.echo(f"{name:>16}  IoU {value:.3f}")
        typer.echo(f"{'mean':>16}  IoU {mean_iou(matrix):.3f} on {len(held_out.images)} images")
    path = save_bundle(out / "segmentation.safetensors", network, classes, provenance)
    typer.echo(f"{path}: use it by `weights: {path}` in the segmentation node's parameters")
