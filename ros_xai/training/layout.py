"""Training of the layout generator: Wasserstein GAN with gradient penalty, scale after scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.generation.layout_network import Critic, LayoutConfig, LayoutNetwork, Scale
from ros_xai.generation.palette import PaletteModel, filled
from ros_xai.generation.semantic_palette import entropy, recovery, spread
from ros_xai.training.checkpoint import digest
from ros_xai.training.distributed import Process
from ros_xai.training.loop import ALONE, LoopConfig, Metrics, descend, generator, turns

CLIP_NORM = 20.0


@dataclass(frozen=True)
class LayoutRecipe:
    """steps: per scale, from 8x16 up to the layout's size; 4x8 is never judged by itself.

    penalty_every: the gradient penalty is taken in every n-th step, n times as strong.
    spread, entropy: the paper's weights are 1. The critic's slope does not depend on the number of
    pixels, that of a mean over pixels does: with 1, our few steps end far from masks that tile.
    edits: share of the samples in which only a box is generated.
    matching: weight of the recovery loss of a generator without the assisted activation.
    """

    network: LayoutConfig = field(default_factory=LayoutConfig)
    steps: tuple[int, ...] = (150, 300, 250)
    batch: int = 16
    rate: float = 1e-3
    gradient_penalty: float = 10.0
    penalty_every: int = 3
    spread: float = 20.0
    entropy: float = 5.0
    matching: float = 0.0
    edits: float = 0.35
    seed: int = 0


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E (||grad D(x)||_2 - 1)^2 between real and fake (Gulrajani et al., NeurIPS 2017, eq. 3)."""
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def one_hot(labels: NDArray[np.uint8], classes: int) -> Tensor:
    """Float [N, C, H, W] of labels [N, H, W] whose gaps are filled by the nearest class."""
    whole = np.stack([filled(label, classes) for label in labels])
    return F.one_hot(torch.from_numpy(whole).long(), classes).movedim(3, 1).float()


def random_boxes(count: int, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Regions [count, 1, H, W]: a box of a quarter to all of each side, anywhere."""
    regions = torch.zeros(count, 1, *size)
    for region in regions:
        height, width = (int(rng.integers(n // 4, n + 1)) for n in size)
        top = int(rng.integers(size[0] - height + 1))
        left = int(rng.integers(size[1] - width + 1))
        region[:, top : top + height, left : left + width] = 1
    return regions


@dataclass
class LayoutTrainer:
    """One generator and its critic, on labels uint8 [N, H, W] and a model of their palettes."""

    recipe: LayoutRecipe
    labels: NDArray[np.uint8]
    palettes: PaletteModel
    process: Process = ALONE

    def __post_init__(self) -> None:
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        self.network = LayoutNetwork(recipe.network)
        self.critic = Critic(recipe.network)
        # moving average of the generator: what is used afterwards
        self.averaged = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
        )
        self.all = nn.ModuleList([self.network, self.critic, self.averaged])
        self.all.to(self.process.device)
        both = [*self.network.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(both, recipe.rate, (0.0, 0.99))
        self.loop = LoopConfig(sum(recipe.steps), recipe.seed, recipe.rate, final_rate=1.0)

    def train(self, folder: Path, show: bool = True) -> LayoutNetwork:
        """All scales, one after the other, on from the checkpoint in `folder`; returns the averaged
        generator."""
        recipe = self.recipe
        about = {"labels": digest(self.labels), "schedule": recipe.steps, **asdict(recipe)}
        turns(
            self.step, self.all, self.optimizer, self.loop, folder, self.process,
            show=show, about=about,
        )  # fmt: skip
        return self.averaged.module.cpu().eval()

    def step(self, number: int) -> Metrics:
        """One step of the critic and one of the generator, up to the size whose turn it is."""
        scales = 2 + int(np.searchsorted(np.cumsum(self.recipe.steps), number, side="right"))
        recipe = self.recipe
        rng = generator(recipe.seed, number)
        torch.manual_seed(int(rng.integers(2**62)))
        real, palette = self._batch(rng)
        size = (4 * 2 ** (scales - 1), 8 * 2 ** (scales - 1))
        source, region, asked = self._asked(real, palette, rng)
        own = real.mean(dim=(2, 3))
        seen = F.adaptive_avg_pool2d(real, size)
        z = torch.randn(len(real), recipe.network.latent, device=real.device)
        results = self.network(z, asked, source, region, scales)
        fake = results[-1].probabilities

        critic = self.critic(seen, own).mean() - self.critic(fake.detach(), asked).mean()
        loss = -critic
        if number % recipe.penalty_every == 0:
            weight = recipe.gradient_penalty * recipe.penalty_every
            penalty = gradient_penalty(lambda x: self.critic(x, asked), seen, fake)
            loss = loss + weight * penalty
        descend(self.optimizer, self.critic, loss, CLIP_NORM, self.process)

        judged = -self.critic(fake, asked).mean()
        supervised = self._supervision(results, asked)
        loss = judged + supervised
        descend(self.optimizer, self.network, loss, CLIP_NORM, self.process)
        self.averaged.update_parameters(self.network)
        return {
            "loss": loss.item(),
            "distance": critic.item(),
            "supervision": supervised.item(),
        }

    def _batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Real layouts at full size, mirrored at even odds, and as many drawn palettes."""
        config = self.recipe.network
        chosen = self.labels[rng.integers(len(self.labels), size=self.recipe.batch)]
        mirrored = rng.random(len(chosen)) < 0.5
        chosen = np.where(mirrored[:, None, None], chosen[:, :, ::-1], chosen)
        real = F.adaptive_avg_pool2d(one_hot(chosen, config.classes), config.size)
        palette = torch.from_numpy(self.palettes.sample(len(chosen), rng)).float()
        return real.to(self.process.device), palette.to(self.process.device)

    def _asked(
        self, real: Tensor, palette: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Source, region and palette: of some samples a box is cut out, and its own palette asked
        for again."""
        region = torch.ones(len(real), 1, *real.shape[2:], device=real.device)
        edited = torch.from_numpy(rng.random(len(real)) < self.recipe.edits).to(real.device)
        if edited.any():
            region[edited] = random_boxes(int(edited.sum()), real.shape[2:], rng).to(real.device)
            inside = (real * region).sum(dim=(2, 3)) / region.sum(dim=(2, 3))
            palette = torch.where(edited[:, None], inside, palette)
        return real, region, palette

    def _supervision(self, results: list[Scale], asked: Tensor) -> Tensor:
        """The losses at every scale ("intermediate supervision")."""
        recipe = self.recipe
        total = asked.new_zeros(())
        for scale in results:
            if recipe.network.conditioning == "assisted":
                total = total + recipe.spread * spread(scale.masks, scale.region)
                total = total + recipe.entropy * entropy(scale.probabilities, scale.region)
            elif recipe.matching:
                total = total + recipe.matching * recovery(scale.probabilities, asked)
        return total
