"""Training of the layout-to-image generator: reconstruction, feature matching, hinge critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ros_xai.generation.image_network import ImageConfig, ImageNetwork, PatchCritic
from ros_xai.training.checkpoint import digest
from ros_xai.training.distributed import Process
from ros_xai.training.layout import one_hot
from ros_xai.training.loop import ALONE, LoopConfig, Metrics, descend, generator, turns
from ros_xai.training.segmentation import Augmentation, Labelled, augment, to_tensor

CLIP_NORM = 5.0


@dataclass(frozen=True)
class ImageRecipe:
    """adversarial_from: share of the steps after which the critic takes part.

    hardest: weight of the mean error of the worst 2 % of the pixels, where lamps are.
    moments: how many moments are in a batch beside `batch` images, each in two states.
    states: weight of the mean error where the two states of a moment differ, which is at lamps.
    agreement: weight of what a judge sees otherwise in the image and in its reconstruction (OCTET,
    arXiv 2211.12380, keeps a decision's features alike when it inverts an image).
    """

    network: ImageConfig = field(default_factory=ImageConfig)
    steps: int = 2200
    batch: int = 2
    moments: int = 1
    rate: float = 2e-3
    balanced: float = 1.0
    hardest: float = 0.5
    edges: float = 0.5
    adversarial: float = 0.05
    features: float = 0.5
    adversarial_from: float = 0.6
    states: float = 0.5
    agreement: float = 0.0
    seed: int = 0

    @property
    def critic_from(self) -> int:
        """First step in which the critic takes part."""
        return round(self.adversarial_from * self.steps)


def region_balanced(error: Tensor, layout: Tensor) -> Tensor:
    """Mean over images of errors [B, 1, H, W] whose regions weigh as the root of their area.

    layout: one-hot [B, C, H, W]. Between a mean over pixels and a mean over regions.
    """
    area = layout.sum(dim=(2, 3), keepdim=True)
    weight = (layout * area.clamp(min=1).rsqrt()).sum(dim=1, keepdim=True)
    return ((error * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))).mean()


def hardest(error: Tensor, share: float = 0.02) -> Tensor:
    """Mean of the largest `share` of the errors [B, 1, H, W] of every image."""
    flat = error.flatten(1)
    return flat.topk(max(1, round(share * flat.shape[1])), dim=1).values.mean()


def differing(image: Tensor, least: float = 0.1) -> Tensor:
    """Where [B, 1, H, W] images in [-1, 1], two states of a moment one after the other, differ."""
    gap = (image[0::2] - image[1::2]).abs().mean(dim=1, keepdim=True)
    return (gap > least).float().repeat_interleave(2, dim=0)


def mean_where(error: Tensor, where: Tensor) -> Tensor:
    """Mean of the errors [B, 1, H, W] at the places that are 1; 0 if there is none."""
    return (error * where).sum() / where.sum().clamp(min=1)


def edge_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the first differences of two images [B, 3, H, W]."""
    return sum(
        ((image - target).diff(dim=axis).abs().mean() for axis in (2, 3)), image.new_zeros(())
    )


def feature_matching(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of the critic's features, averaged over its levels."""
    gaps = [F.l1_loss(a, b.detach()) for a, b in zip(fake, real)]
    return torch.stack(gaps).mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (SPADE's and SEAN's loss of the critic)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


class ImageTrainer:
    """Reconstructs images from their layouts and the codes of their regions.

    data: single images, which may be none; moments: the two states of each one after the other.
    judge: images [B, 3, H, W] -> [B, K], frozen; with `agreement`.
    """

    def __init__(
        self,
        recipe: ImageRecipe,
        data: Labelled | None,
        moments: Labelled,
        network: ImageNetwork | None = None,
        judge: Callable[[Tensor], Tensor] | None = None,
        process: Process = ALONE,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.moments = recipe, data, moments
        self.judge, self.process = judge, process
        self.network = network or ImageNetwork(recipe.network)
        self.critic = PatchCritic(recipe.network.classes)
        self.both = nn.ModuleList([self.network, self.critic]).to(process.device)
        self.optimizer = torch.optim.Adam(self.both.parameters(), recipe.rate, (0.5, 0.99))
        self.loop = LoopConfig(
            recipe.steps, recipe.seed, recipe.rate, final_rate=0.05, warm_up=min(50, recipe.steps)
        )

    def train(self, folder: Path, show: bool = True) -> ImageNetwork:
        """All steps, on from the checkpoint in `folder`; returns the network in evaluation mode."""
        self.network.train()
        images = [data.images for data in (self.moments, self.data) if data is not None]
        about = {"images": digest(*images), "schedule": self.recipe.steps, **asdict(self.recipe)}
        turns(
            self.step, self.both, self.optimizer, self.loop, folder, self.process,
            show=show, about=about,
        )  # fmt: skip
        return self.network.cpu().eval()

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images in [-1, 1] and one-hot layouts, zoomed and mirrored at random: both states of
        moments, alike augmented, then single images."""
        recipe, parts = self.recipe, []
        how = Augmentation(zoom=0.85, jitter=0.08)
        first = 2 * rng.integers(len(self.moments.images) // 2, size=recipe.moments)
        seed = int(rng.integers(2**62))
        states = [
            augment(self.moments.take(first + i), np.random.default_rng(seed), how) for i in (0, 1)
        ]
        parts.append(Labelled(*(np.stack(c, 1).reshape(-1, *c[0].shape[1:]) for c in zip(*states))))
        if self.data is not None:
            chosen = self.data.take(rng.integers(len(self.data.images), size=recipe.batch))
            parts.append(augment(chosen, rng, how))
        images, labels = (np.concatenate(column) for column in zip(*parts))
        device, classes = self.process.device, recipe.network.classes
        return to_tensor(images).to(device) * 2 - 1, one_hot(labels, classes).to(device)

    def step(self, number: int) -> Metrics:
        """One step of the network and, in the last part, one of the critic."""
        recipe = self.recipe
        image, layout = self.batch(generator(recipe.seed, number))
        fake = self.network.reconstruct(image, layout)
        error = (fake - image).abs().mean(dim=1, keepdim=True)
        lamps = differing(image[: 2 * recipe.moments])
        losses = {
            "balanced": recipe.balanced * region_balanced(error, layout),
            "hardest": recipe.hardest * hardest(error),
            "edges": recipe.edges * edge_error(fake, image),
            "states": recipe.states * mean_where(error[: len(lamps)], lamps),
        }
        if self.judge is not None and recipe.agreement:
            seen = self.judge(image).clamp(-4, 4)  # beyond, it is sure enough
            told = self.judge(fake)
            losses["agreement"] = recipe.agreement * F.smooth_l1_loss(told, seen)
        if number >= recipe.critic_from:
            features, scores = self.critic(fake, layout)
            matched, _ = self.critic(image, layout)
            losses["adversarial"] = -recipe.adversarial * scores.mean()
            losses["features"] = recipe.features * feature_matching(features, matched)
        losses["loss"] = torch.stack(list(losses.values())).sum()
        descend(self.optimizer, self.network, losses["loss"], CLIP_NORM, self.process)
        if number >= recipe.critic_from:
            _, judged = self.critic(fake.detach(), layout)
            _, real = self.critic(image, layout)
            descend(self.optimizer, self.critic, hinge(real, judged), CLIP_NORM, self.process)
        return {name: value.item() for name, value in losses.items()}
