"""What the first continual step learns from: how right pseudo-labels are, and the gradients."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.plop import CONFIG, ORDER, Arm, data, first_network
from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation.network import SegmentationNetwork
from ros_xai.segmentation.plop import BACKGROUND, pseudo_labels
from ros_xai.training import plop
from ros_xai.training.loop import LoopConfig
from ros_xai.training.segmentation import Labelled, augment, to_batch

SAMPLES = 64
NEW = CONFIG.first + 1  # channel of the first class that is added


def diagnosis(name: str, arms: dict[str, Arm], floors: tuple[float, ...], seed: int) -> Any:
    """Of the first added class: how far pseudo-labels are right, and gradients after the step."""
    old = first_network(name, CONFIG.first, CONFIG.first_steps, seed)
    train = data(name)[0]
    train = train.take(plop.step_images(train.labels, [ORDER[NEW - 1]], [], disjoint=False))
    return {
        "pseudo_labels": {f"trust {floor:g}": trusted(old, train, floor) for floor in floors},
        "gradients": {arm: gradients(old, train, method, seed) for arm, method in arms.items()},
    }


def trusted(old: SegmentationNetwork, train: Labelled, floor: float) -> dict[str, float]:
    """Share of the background that is trusted, and of how much of that the label is right: an old
    class where it is one, background on classes still to come."""
    truth = plop.step_labels(train.labels, ORDER, ORDER)
    step = Labelled(train.images, plop.step_labels(train.labels, ORDER[:NEW], ORDER[NEW - 1 : NEW]))
    thresholds = plop.median_entropies(old, step, floor)
    batch = to_batch(_seen(Labelled(train.images, truth)))
    true = batch["label"]
    right = torch.where((true > NEW) & (true != IGNORE), BACKGROUND, true)
    labels = torch.where(true < NEW, BACKGROUND, right)
    with torch.no_grad():
        completed, nu = pseudo_labels(labels, old(batch["image"]).softmax(1), thresholds)
    chosen = (labels == BACKGROUND) & (completed != IGNORE)
    return {
        "share": round(nu.mean().item(), 3),
        "right": round((completed == right)[chosen].float().mean().item(), 3),
    }


def gradients(old: SegmentationNetwork, train: Labelled, arm: Arm, seed: int) -> dict[str, float]:
    """Norms of the gradient of each loss over all weights, after the step."""
    data = Labelled(train.images, plop.step_labels(train.labels, ORDER[:NEW], ORDER[NEW - 1 : NEW]))
    loop = LoopConfig(CONFIG.steps, seed, arm.rate, warm_up=10, checkpoint_every=CONFIG.steps)
    with tempfile.TemporaryDirectory() as folder:
        network = plop.learn_step(old, data, 1, arm.method, loop, Path(folder))
    config = arm.method.config
    thresholds = plop.median_entropies(old, data, config.trust) if config.entropy else None
    objective = plop.OBJECTIVES[arm.method.objective]
    step = plop.ContinualStep(network, old, objective, config, thresholds).train()
    losses = step(to_batch(_seen(data)))
    parameters = list(network.parameters())

    def norm(loss: Tensor) -> float:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return round(float(sum(g.square().sum() for g in found if g is not None)) ** 0.5, 3)

    return {loss: norm(losses[loss]) for loss in ("cross_entropy", "distillation")}


def _seen(data: Labelled) -> Labelled:
    """Samples as training sees them."""
    rng = np.random.default_rng(0)
    return augment(
        data.take(rng.integers(len(data.images), size=SAMPLES)),
        rng,
        plop.Method().augmentation,
    )
