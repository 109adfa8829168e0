"""Training of the network that decides "the ego may move on", and of its oracle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.explanation.steex_decision import DecisionConfig, DecisionNetwork
from ros_xai.generation.scenes import CAUSES
from ros_xai.training.checkpoint import digest
from ros_xai.training.distributed import Process
from ros_xai.training.generation_data import Scenes
from ros_xai.training.generation_rebuilt import Rebuilding, Rebuilt
from ros_xai.training.loop import ALONE, Batch, LoopConfig, fit
from ros_xai.training.segmentation import Augmentation, augment, to_tensor


@dataclass(frozen=True)
class DecisionRecipe:
    """The augmentation's window cuts little: a signal at the border must stay in the image. Blur
    and noise are in it since images that a generator makes are judged, too."""

    network: DecisionConfig = field(default_factory=DecisionConfig)
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(zoom=0.95, jitter=0.1, rough=0.3)
    )
    steps: int = 1200
    moments: int = 8
    rate: float = 2e-3
    rebuilding: Rebuilding | None = None  # of the moments that are learned from rebuilt, too
    seed: int = 0


class DecisionLearner(nn.Module):
    """Binary cross-entropy on `may_move` and on both reasons not to."""

    def __init__(self, config: DecisionConfig) -> None:
        super().__init__()
        self.network = DecisionNetwork(config)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of images in [-1, 1], their labels, and which reasons hold [B, 2]."""
        network, truth = self.network, batch["reasons"]
        places = network.places(batch["image"])
        reasons = network.strongest(places)
        on_class = network.strongest(_on_class(places, batch["label"]))
        may_move, logits = 1 - truth.amax(dim=1), -reasons.logsumexp(dim=1)
        losses = {
            "on_class": F.binary_cross_entropy_with_logits(on_class, truth),
            "reasons": F.binary_cross_entropy_with_logits(reasons, truth),
            "may_move": F.binary_cross_entropy_with_logits(logits, may_move),
        }
        right = ((logits > 0) == (may_move > 0.5)).float().mean()
        return {"loss": torch.stack(list(losses.values())).sum(), **losses, "accuracy": right}


def train_decision(
    recipe: DecisionRecipe,
    scenes: Scenes,
    folder: Path,
    process: Process = ALONE,
    again: Rebuilt | None = None,
    show: bool = True,
) -> DecisionNetwork:
    """The trained network, on from the checkpoint in `folder`; a batch holds as many moments with a
    red light as with braking cars, each also in the state in which it may move on. Half of them are
    of `again`, the same moments as a generator rebuilds them, when it is given."""
    torch.manual_seed(recipe.seed)
    learner = DecisionLearner(recipe.network)
    groups = [np.flatnonzero(kind) for kind in (scenes.red, scenes.brake)]
    half = -(-recipe.moments // 2)

    def make_batch(rng: np.random.Generator) -> Batch:
        stop = np.concatenate([rng.choice(group, half) for group in groups if len(group)])
        index = np.concatenate([stop, stop + 1])  # a moment's other state is the next row
        chosen, reasons = scenes.pairs.take(index), scenes.reasons[index]
        if again is not None:
            half_of_them = np.tile(rng.random(len(stop)) < 0.5, 2)
            images, others = again.draw(index, rng)
            chosen.images[half_of_them] = images[half_of_them]
            reasons[half_of_them] = others[half_of_them]
        pairs = augment(chosen, rng, recipe.augmentation)
        return {
            "image": to_tensor(pairs.images) * 2 - 1,
            "label": torch.from_numpy(np.ascontiguousarray(pairs.labels)),
            "reasons": torch.from_numpy(reasons).float(),
        }

    loop = LoopConfig(
        recipe.steps,
        recipe.seed,
        recipe.rate,
        final_rate=0.02,
        warm_up=20,
        weight_decay=1e-4,
        clip_norm=5.0,
    )
    images = [scenes.pairs.images, *([] if again is None else [again.images])]
    about = {"images": digest(*images), **asdict(recipe)}
    fit(learner, make_batch, loop, folder, process, show=show, about=about)
    return learner.network.cpu().eval().requires_grad_(False)


def _on_class(places: Tensor, labels: Tensor) -> Tensor:
    """Evidence [B, 2, h, w] for a red light on signs only, for brake lamps on cars only.

    In training this says where to look, which a few hundred images would not; the network itself
    sees no labels.
    """
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
