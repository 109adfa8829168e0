"""Counterfactuals in the styles of regions (STEEX: Jacob et al., ECCV 2022, arXiv 2111.09094).

The layout stays; the style codes of all regions, or of some, move until the decision is another.
What moved is the explanation, and that a region cannot flip the decision is one, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Render = Callable[[Tensor], Tensor]  # codes [1, C, D] -> image [1, 3, H, W] in [-1, 1]
Decide = Callable[[Tensor], Tensor]  # image -> logit [1] of the decision


@dataclass(frozen=True)
class SteexConfig:
    """The paper's proximity is 0.3 for codes of 512 numbers at rate 0.01; ours are shorter, and
    proximity, margin and kept were chosen on moments of the training drives.

    margin: the search ends once the logit is this far on the other side (the paper takes all
    steps, which overshoots). kept: regions then go back to their start, those that moved least
    first, as long as the logit stays so far on the other side; none do when it is infinite (Adam's
    first steps are as long for codes that hardly matter as for those that decide).
    bound: codes stay in [-bound, bound], the range of the encoder.
    """

    proximity: float = 0.1
    rate: float = 0.03
    steps: int = 100
    margin: float = 4.0
    kept: float = 2.0
    bound: float = 1.0


class Step(NamedTuple):
    """One step of the search: its number, probability of "yes" and the codes [C, D]."""

    number: int
    probability: float
    codes: Tensor


@dataclass(frozen=True)
class Counterfactual:
    """What a search found.

    start, codes: [C, D] before and after; before, after: [1, 3, H, W], the reconstruction and the
    counterfactual; image, reconstruction, curve: probability of "yes" on the real image, on the
    reconstruction and after each step; reconstruction_agrees: without it a flip would be the
    generator's doing, so that `success` needs it.
    """

    start: Tensor
    codes: Tensor
    before: Tensor
    after: Tensor
    image: float
    reconstruction: float
    curve: tuple[float, ...]
    regions: tuple[int, ...]

    @property
    def wanted(self) -> bool:
        """The decision that was searched for: not the image's."""
        return self.image < 0.5

    @property
    def reconstruction_agrees(self) -> bool:
        return (self.reconstruction >= 0.5) == (self.image >= 0.5)

    @property
    def flipped(self) -> bool:
        """Whether the decision on the last image is the wanted one."""
        return (self.curve[-1] >= 0.5) == self.wanted

    @property
    def success(self) -> bool:
        return self.flipped and self.reconstruction_agrees

    @property
    def moved(self) -> Tensor:
        """How far the code of each class moved, ||z_c - z0_c|| [C]."""
        return (self.codes - self.start).norm(dim=1)

    def changed(self, layout: Tensor) -> Tensor:
        """Mean absolute change of the pixels of each class [C], in grey levels of 255.

        layout: one-hot [1, C, H, W]; 0 for a class that is absent.
        """
        change = (self.after - self.before).abs().mean(dim=1, keepdim=True) * 127.5
        area = layout.sum(dim=(0, 2, 3))
        return (change * layout).sum(dim=(0, 2, 3)) / area.clamp(min=1)


def steex_loss(
    logit: Tensor, wanted: bool, codes: Tensor, start: Tensor, proximity: float
) -> Tensor:
    """-log sigmoid(+-logit) + lambda sum_c ||z_c - z0_c||^2, the sign that of the wanted answer."""
    decision = -F.logsigmoid(logit if wanted else -logit).sum()
    return decision + proximity * ((codes - start) ** 2).sum()


class Steex:
    """Searches counterfactuals of one scene.

    render: differentiable in the codes; decide: in the image. start: [C, D], the codes that the
    image was encoded to; present: the classes of the layout; image: [1, 3, H, W], the real one.
    """

    def __init__(
        self,
        render: Render,
        decide: Decide,
        image: Tensor,
        start: Tensor,
        present: Sequence[int],
        config: SteexConfig | None = None,
    ) -> None:
        self.render, self.decide, self.config = render, decide, config or SteexConfig()
        self.start, self.present = start.detach(), tuple(present)
        with torch.no_grad():
            self.image = _probability(decide(image))
            self.before = render(self.start[None])
            self.reconstruction = _probability(decide(self.before))

    def search(self, regions: Sequence[int] | None = None) -> Iterator[Step]:
        """The steps of the search over the codes of `regions` (all that are present by default);
        step 0 is the start, and the last may be the one that spares regions.

        Raises:
            ValueError: none of the regions is present, so that nothing can be explained by them.
        """
        chosen = self._chosen(regions)
        config, wanted = self.config, self.image < 0.5
        free = self.start[chosen].clone().requires_grad_()
        optimizer = torch.optim.Adam([free], config.rate)
        index = torch.tensor(chosen)
        for number in range(config.steps + 1):
            codes = self.start.index_copy(0, index, free)
            logit = self.decide(self.render(codes[None]))
            yield Step(number, _probability(logit), codes.detach())
            if self._beyond(logit) >= config.margin or number == config.steps:
                break
            loss = steex_loss(logit, wanted, codes, self.start, config.proximity)
            (free.grad,) = torch.autograd.grad(loss, free)
            optimizer.step()
            with torch.no_grad():
                free.clamp_(-config.bound, config.bound)
        spared, probability = self._spared(codes.detach(), chosen)
        if not torch.equal(spared, codes):
            yield Step(number + 1, probability, spared)

    @torch.no_grad()
    def _spared(self, codes: Tensor, chosen: list[int]) -> tuple[Tensor, float]:
        """Codes without the moves that the decision does not need, and the probability then."""
        logit = self.decide(self.render(codes[None]))
        moved = (codes - self.start).norm(dim=1)
        for region in sorted(chosen, key=lambda r: float(moved[r])):
            trial = codes.clone()
            trial[region] = self.start[region]
            there = self.decide(self.render(trial[None]))
            if self._beyond(there) >= self.config.kept:
                codes, logit = trial, there
        return codes, _probability(logit)

    def _beyond(self, logit: Tensor) -> float:
        """How far the logit is on the side that is searched for."""
        return logit.item() if self.image < 0.5 else -logit.item()

    def explain(
        self,
        regions: Sequence[int] | None = None,
        feedback: Callable[[Step], None] = lambda step: None,
    ) -> Counterfactual:
        """The whole search; `feedback` is told of every step."""
        curve = []
        for step in self.search(regions):
            feedback(step)
            curve.append(step.probability)
        with torch.no_grad():
            after = self.render(step.codes[None])
        return Counterfactual(
            self.start,
            step.codes,
            self.before,
            after,
            self.image,
            self.reconstruction,
            tuple(curve),
            tuple(self._chosen(regions)),
        )

    def smallest(
        self, whole: Counterfactual, order: Sequence[int], largest: int = 2, among: int = 4
    ) -> Counterfactual | None:
        """The counterfactual of the fewest regions that flip the decision, else None.

        Sets of 1 to `largest` of the first `among` regions of `order` are tried, small ones first;
        `order` says which to try first: those that the whole search changed most. Regions that the
        whole search was not allowed to change are not tried.
        """
        if not whole.success:
            return None
        candidates = [region for region in order if region in whole.regions][:among]
        for size in range(1, largest + 1):
            for regions in itertools.combinations(candidates, size):
                found = self.explain(regions)
                if found.success:
                    return found
        return None

    def _chosen(self, regions: Sequence[int] | None) -> list[int]:
        chosen = [r for r in (self.present if regions is None else regions) if r in self.present]
        if not chosen:
            raise ValueError("none of the regions is in the scene: nothing to change")
        return chosen


def _probability(logit: Tensor) -> float:
    return float(torch.sigmoid(logit.detach()).reshape(()))


def pixel_counterfactual(
    decide: Decide,
    image: Tensor,
    proximity: float = 1e-3,
    rate: float = 0.01,
    steps: int = 100,
    margin: float = 2.0,
) -> Tensor:
    """Baseline: the same search over pixels, image [1, 3, H, W] -> image. It finds adversarial
    noise: the decision flips and nothing is explained."""
    with torch.no_grad():
        wanted = _probability(decide(image)) < 0.5
    x = image.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], rate)
    for _ in range(steps):
        logit = decide(x)
        if (logit.item() if wanted else -logit.item()) >= margin:
            break
        loss = steex_loss(logit, wanted, x, image, proximity)
        (x.grad,) = torch.autograd.grad(loss, x)
        optimizer.step()
        with torch.no_grad():
            x.clamp_(-1, 1)
    return x.detach()
