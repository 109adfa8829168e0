"""The networks of generation that ship: what they were trained on, how long, and their cards."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex_decision import (
    ORACLE,
    decision_card,
    decision_tensors,
    load_decisions,
)
from ros_xai.generation.image_network import ImageNetwork
from ros_xai.generation.images import SHIPPED as SHIPPED_IMAGE
from ros_xai.generation.images import ImageGenerator, StyleBank
from ros_xai.generation.layouts import LayoutGenerator
from ros_xai.generation.palette import fit_palette, proportions_of
from ros_xai.training.checkpoint import write_atomic
from ros_xai.training.distributed import Process
from ros_xai.training.generation import ImageRecipe, ImageTrainer
from ros_xai.training.generation_data import (
    joined,
    load_scenes,
    streets,
    world_layouts,
)
from ros_xai.training.generation_decisions import DecisionRecipe, accuracy, train_decision
from ros_xai.training.generation_rebuilt import Rebuilding
from ros_xai.training.generation_rebuilt import rebuilt as rebuild
from ros_xai.training.layout import LayoutRecipe, LayoutTrainer, one_hot
from ros_xai.training.loop import ALONE
from ros_xai.training.segmentation import Labelled, to_tensor

CLASSES = CAMVID.names
BANK = 64  # images whose styles ship


class Trained(NamedTuple):
    """What is to be written: the card goes beside the tensors."""

    path: Path
    tensors: dict[str, Tensor]
    card: dict[str, Any]


def write(trained: Trained) -> Path:
    """NAME.safetensors and NAME.json beside it."""
    path = trained.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({k: v.detach().contiguous().clone() for k, v in trained.tensors.items()}, part)
    part.replace(path)
    write_atomic(path.with_suffix(".json"), (json.dumps(trained.card, indent=1) + "\n").encode())
    return path


def _run(out: Path, name: str, seed: int) -> Path:
    """Folder of a training's checkpoints and log."""
    return out / "runs" / f"{name}-{seed}"


def layout(out: Path, seed: int, steps: float, process: Process = ALONE) -> Trained:
    """Layout generator on rendered streets; `steps` scales the recipe's."""
    with process.in_turn():
        labels, held_out = world_layouts(False), world_layouts(True)
    recipe = LayoutRecipe(seed=seed)
    recipe = replace(recipe, steps=tuple(max(1, round(n * steps)) for n in recipe.steps))
    begun = time.process_time()
    palettes = fit_palette(proportions_of(labels, len(CLASSES)), seed=seed)
    network = LayoutTrainer(recipe, labels, palettes, process).train(_run(out, "layout", seed))
    generator = LayoutGenerator(network, palettes, CLASSES)
    asked = proportions_of(held_out, len(CLASSES))
    achieved = proportions_of(generator.generate(asked, seed), len(CLASSES))
    return _finish(
        out / "layout.safetensors",
        generator.tensors(),
        generator.card(),
        seed=seed,
        data=f"{len(labels)} label images of 30 rendered towns, world only",
        command=f"ros_xai generate train layout --seed {seed} --steps {steps:g}",
        cpu_minutes=round((time.process_time() - begun) / 60, 1),
        metrics={
            "held-out palettes": len(asked),
            "mean |asked - achieved| per class": round(float(np.abs(asked - achieved).mean()), 5),
        },
        training=asdict(recipe),
    )


def image(out: Path, seed: int, steps: float, process: Process = ALONE) -> Trained:
    """Image generator on rendered moments and streets; `steps` scales the recipe's."""
    recipe = ImageRecipe(seed=seed)
    recipe = replace(recipe, steps=max(1, round(recipe.steps * steps)))
    with process.in_turn():
        moments, single = load_scenes(False).pairs, streets(recipe.network.size)
        held_out = load_scenes(True).pairs
    data = joined([moments, single])
    begun = time.process_time()
    trainer = ImageTrainer(recipe, single, moments, process=process)
    network = trainer.train(_run(out, "image", seed))
    generator = ImageGenerator(network, style_bank(network, data, seed), CLASSES)
    return _finish(
        out / "image.safetensors",
        generator.tensors(),
        generator.card(),
        seed=seed,
        data=f"{len(data.images)} rendered images with labels of 27 + 60 drives, world only",
        command=f"ros_xai generate train image --seed {seed} --steps {steps:g}",
        cpu_minutes=round((time.process_time() - begun) / 60, 1),
        metrics={"held-out mean absolute error, grey levels": reconstruction(network, held_out)},
        training=asdict(recipe),
    )


def refine(out: Path, seed: int, steps: float, process: Process = ALONE) -> Trained:
    """Goes on from the image generator in `out` with moments alone: lamps weigh more, and the
    decision network in `out` must see in a reconstruction what it saw in the image."""
    with process.in_turn():
        moments, held_out = load_scenes(False).pairs, load_scenes(True).pairs
    path = out / "image.safetensors"
    card = json.loads(path.with_suffix(".json").read_text())
    network = ImageGenerator.load(path).network.requires_grad_(True)
    decision, _ = load_decisions(out / "may_move.safetensors")
    recipe = ImageRecipe(
        network=network.config,
        moments=2,
        rate=1e-3,
        adversarial_from=1.0,
        states=1.0,
        agreement=0.1,
        seed=seed + 1,
    )
    recipe = replace(recipe, steps=max(1, round(600 * steps)))
    begun = time.process_time()
    judge = decision.to(process.device).evidence
    trainer = ImageTrainer(recipe, None, moments, network, judge, process)
    trained = trainer.train(_run(out, "refine", seed))
    both = joined([moments, streets(network.config.size)])
    generator = ImageGenerator(trained, style_bank(trained, both, seed), CLASSES)
    before = {k: card[k] for k in ("data", "command", "metrics", "training", "cpu_minutes")}
    return _finish(
        path,
        generator.tensors(),
        generator.card(),
        seed=seed,
        data=f"{before['data']}; then the {len(moments.images)} of moments alone",
        command=f"{before['command']}; ros_xai generate train decisions; "
        f"ros_xai generate train refine --steps {steps:g}",
        cpu_minutes=round(before["cpu_minutes"] + (time.process_time() - begun) / 60, 1),
        metrics={"held-out mean absolute error, grey levels": reconstruction(trained, held_out)},
        training={"first": before["training"], "then": asdict(recipe)},
    )


def decisions(out: Path, seed: int, steps: float, process: Process = ALONE) -> Trained:
    """Decision network and oracle on rendered moments; `steps` scales the recipe's."""
    return _decisions(out, seed, steps, process, None)


def rebuilt(out: Path, seed: int, steps: float, process: Process = ALONE) -> Trained:
    """The same on rendered moments and on those moments as the image generator in `out` rebuilds
    them (the one that ships where there is none), so that both judge what the search shows them."""
    path = out / "image.safetensors"
    return _decisions(out, seed, steps, process, path if path.is_file() else SHIPPED_IMAGE)


def _decisions(
    out: Path, seed: int, steps: float, process: Process, generator: Path | None
) -> Trained:
    with process.in_turn():
        train, held_out = load_scenes(False), load_scenes(True)
    painter = ImageGenerator.load(generator).network if generator else None
    recipe = DecisionRecipe(seed=2 * seed, rebuilding=Rebuilding() if painter else None)
    recipe = replace(recipe, steps=max(1, round(recipe.steps * steps)))
    other = replace(recipe.augmentation, zoom=0.9, jitter=0.15)
    of_oracle = replace(recipe, network=ORACLE, augmentation=other, seed=2 * seed + 1)
    name = "rebuilt" if painter else "decisions"
    begun = time.process_time()
    networks, metrics = [], {"held-out moments": len(held_out.may_move)}
    for which, own in (("decision", recipe), ("oracle", of_oracle)):
        again = rebuild(painter, train, own.rebuilding, own.seed) if painter else None
        run = _run(out, f"{name}-{which}", seed)
        network = train_decision(own, train, run, process, again)
        networks.append(network)
        metrics[f"accuracy of the {which}"] = round(accuracy(network, held_out), 4)
    data = f"{len(train.may_move)} images of moments of 27 drives, lamps set; world only"
    command = f"ros_xai generate train {name} --seed {seed} --steps {steps:g}"
    if generator:
        data += f"; and {recipe.rebuilding.copies} rebuilt copies of each"
        before = json.loads(generator.with_suffix(".json").read_text())["command"]
        command = f"{before}; {command}"
    return _finish(
        out / "may_move.safetensors",
        decision_tensors(*networks),
        decision_card(*networks),
        seed=seed,
        data=data,
        command=command,
        cpu_minutes=round((time.process_time() - begun) / 60, 1),
        metrics=metrics,
        training={"decision": asdict(recipe), "oracle": asdict(of_oracle)},
    )


@torch.no_grad()
def style_bank(network: ImageNetwork, data: Labelled, seed: int) -> StyleBank:
    """Codes of BANK images of the data."""
    rng = np.random.default_rng([seed, 30])
    index = np.sort(rng.permutation(len(data.images))[:BANK])
    chosen = data.take(index)
    layout = one_hot(chosen.labels, network.config.classes)
    codes = network.encoder(to_tensor(chosen.images) * 2 - 1, layout)
    return StyleBank(codes, layout.sum(dim=(2, 3)) > 0)


@torch.no_grad()
def reconstruction(network: ImageNetwork, data: Labelled) -> float:
    """Mean absolute error of reconstructed images, in grey levels of 255."""
    errors: list[NDArray[np.float32]] = []
    for i in range(0, len(data.images), 16):
        part = data.take(slice(i, i + 16))
        image = to_tensor(part.images) * 2 - 1
        again = network.reconstruct(image, one_hot(part.labels, network.config.classes))
        errors.append((again - image).abs().mean(dim=(1, 2, 3)).numpy() * 127.5)
    return round(float(np.concatenate(errors).mean()), 2)


def _finish(path: Path, tensors: dict[str, Tensor], card: dict[str, Any], **more: Any) -> Trained:
    parameters = sum(v.numel() for v in tensors.values())
    return Trained(
        path, tensors, {**card, "licence": "Apache-2.0", "parameters": parameters, **more}
    )


SHIPPED = {
    "layout": layout,
    "image": image,
    "decisions": decisions,
    "refine": refine,
    "rebuilt": rebuilt,
}
