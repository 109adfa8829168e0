"""Training of the network that decides "the ego may move on", and of its oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.explanation.steex_decision import DecisionConfig, DecisionNetwork
from ros_xai.generation.scenes import CAUSES
from ros_xai.training.generation_data import Scenes
from ros_xai.training.loop import LoopConfig, learning_rate
from ros_xai.training.segmentation import Augmentation, Labelled, augment, to_tensor


@dataclass(frozen=True)
class DecisionRecipe:
    """The augmentation's window cuts little: a signal at the border must stay in the image."""

    network: DecisionConfig = field(default_factory=DecisionConfig)
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(zoom=0.95, jitter=0.1))
    steps: int = 450
    batch: int = 15
    rate: float = 2e-3
    seed: int = 0


def train_decision(
    recipe: DecisionRecipe,
    scenes: Scenes,
    log: Callable[[dict[str, float]], None] = lambda line: None,
) -> DecisionNetwork:
    """Binary cross-entropy on `may_move` and on both reasons not to; a batch holds as many moments
    with a red light, with braking cars and with neither."""
    torch.manual_seed(recipe.seed)
    network = DecisionNetwork(recipe.network).train()
    optimizer = torch.optim.Adam(network.parameters(), recipe.rate, weight_decay=1e-4)
    loop = LoopConfig(recipe.steps, recipe.seed, recipe.rate, final_rate=0.02, warm_up=20)
    truths = np.stack([scenes.red, scenes.brake], axis=1)
    groups = [np.flatnonzero(kind) for kind in (scenes.red, scenes.brake, scenes.may_move)]
    for step in range(recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        third = -(-recipe.batch // 3)
        index = np.concatenate([rng.choice(group, third) for group in groups if len(group)])
        pairs: Labelled = augment(scenes.pairs.take(index), rng, recipe.augmentation)
        truth = torch.from_numpy(truths[index]).float()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(loop, step)
        places = network.places(to_tensor(pairs.images) * 2 - 1)
        reasons, on_class = (network.strongest(p) for p in (places, _on_class(places, pairs)))
        may_move, logits = 1 - truth.amax(dim=1), -reasons.logsumexp(dim=1)
        loss = F.binary_cross_entropy_with_logits(on_class, truth)
        loss = loss + F.binary_cross_entropy_with_logits(reasons, truth)
        loss = loss + F.binary_cross_entropy_with_logits(logits, may_move)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % 50 == 49:
            right = ((logits > 0) == (may_move > 0.5)).float().mean()
            log({"step": step + 1, "loss": loss.item(), "batch_accuracy": right.item()})
    return network.eval().requires_grad_(False)


def _on_class(places: Tensor, pairs: Labelled) -> Tensor:
    """Evidence [B, 2, h, w] for a red light on signs only, for brake lamps on cars only.

    In training this says where to look, which a few hundred images would not; the network itself
    sees no labels.
    """
    labels = torch.from_numpy(np.ascontiguousarray(pairs.labels))
    here = torch.stack([labels == index for index in CAUSES], dim=1).float()
    return places.masked_fill(F.adaptive_max_pool2d(here, places.shape[2:]) == 0, -8.0)


@torch.no_grad()
def answers(
    network: DecisionNetwork, images: NDArray[np.uint8], batch: int = 64
) -> NDArray[np.float64]:
    """Probability [N] of "may move on" for images uint8 [N, H, W, 3]."""
    parts = [
        torch.sigmoid(network(to_tensor(images[i : i + batch]) * 2 - 1))
        for i in range(0, len(images), batch)
    ]
    return torch.cat(parts).double().numpy()


def accuracy(network: DecisionNetwork, scenes: Scenes) -> float:
    """Share of the moments on which the network tells the truth."""
    return float(((answers(network, scenes.pairs.images) >= 0.5) == scenes.may_move).mean())
