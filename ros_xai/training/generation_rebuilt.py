"""Moments that the image generator rebuilds, whole and with other styles, whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ros_xai.generation.image_network import ImageNetwork
from ros_xai.generation.scenes import CAUSES
from ros_xai.training.generation_data import Bools, Scenes
from ros_xai.training.layout import one_hot
from ros_xai.training.segmentation import Labelled, to_tensor


@dataclass(frozen=True)
class Rebuilding:
    """How the style codes of a moment vary. Its lamps keep their state, and so does the truth.

    copies: of every image; the first is of its own codes. borrowed: odds that the code of a class
    moves, by any share, towards that of another moment, for a cause of one whose lamps are in the
    same state. beyond: the codes move by up to this share of the way to the moment's other state,
    or away from it. noise: largest deviation of noise on the codes. parted: odds that of two
    causes one takes the state in which it does not forbid to move on.
    """

    copies: int = 4
    borrowed: float = 0.5
    beyond: float = 0.3
    noise: float = 0.15
    parted: float = 0.5


@dataclass(frozen=True)
class Rebuilt:
    """images uint8 [K, N, H, W, 3] and the reasons to stop that hold in them, bool [K, N, 2]: K
    copies of the N rows of moments."""

    images: NDArray[np.uint8]
    reasons: Bools

    def draw(
        self, index: NDArray[np.integer], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Bools]:
        """Images and reasons of rows, each of any copy."""
        copy = rng.integers(len(self.images), size=len(index))
        return self.images[copy, index], self.reasons[copy, index]


@torch.no_grad()
def encoded(network: ImageNetwork, data: Labelled, batch: int = 32) -> Tensor:
    """Style codes [N, C, D] of images, 0 for absent classes."""
    parts = []
    for i in range(0, len(data.images), batch):
        part = data.take(slice(i, i + batch))
        layout = one_hot(part.labels, network.config.classes)
        parts.append(network.encoder(to_tensor(part.images) * 2 - 1, layout))
    return torch.cat(parts)


@torch.no_grad()
def painted(
    network: ImageNetwork, labels: NDArray[np.uint8], codes: Tensor, batch: int = 32
) -> NDArray[np.uint8]:
    """Images uint8 [N, H, W, 3] of labels [N, H, W] in styles [N, C, D]."""
    parts = []
    for i in range(0, len(labels), batch):
        layout = one_hot(labels[i : i + batch], network.config.classes)
        image = (network(layout, codes[i : i + batch]) + 1) * 127.5
        parts.append(image.round().clamp(0, 255).to(torch.uint8).movedim(1, 3).numpy())
    return np.concatenate(parts)


def varied(
    codes: Tensor, reasons: Bools, how: Rebuilding, rng: np.random.Generator
) -> tuple[Tensor, Bools]:
    """Other codes [N, C, D] for moments, and the reasons [N, 2] that hold in them.

    Rows come in pairs, one to stop and one to go, and both are varied alike where they may be.
    """
    N, C, D = codes.shape
    pairs = N // 2
    reasons = reasons.copy()
    codes, other = codes.clone(), codes.unflatten(0, (pairs, 2)).flip(1).flatten(0, 1)
    both = np.flatnonzero(reasons.all(axis=1) & (rng.random(N) < how.parted))
    for row, which in zip(both, rng.integers(2, size=len(both))):
        cause = list(CAUSES)[which]
        codes[row, cause] = other[row, cause]
        reasons[row, which] = False

    def shares(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.repeat(values, 2, axis=0)).float()[:, :, None]

    lit = np.zeros((N, C), bool)
    lit[:, list(CAUSES)] = reasons
    present = (codes != 0).any(dim=2).numpy()
    donors = np.tile(np.arange(N)[:, None], C)  # itself where there is no other
    for c in range(C):
        for state in (False, True):
            having = np.flatnonzero(present[:, c] & (lit[:, c] == state))
            if len(having):
                drawn = np.repeat(rng.choice(having, pairs), 2)
                donors[:, c] = np.where(lit[:, c] == state, drawn, donors[:, c])
    towards = rng.random((pairs, C)) * (rng.random((pairs, C)) < how.borrowed)
    moved = torch.lerp(codes, codes[torch.from_numpy(donors), torch.arange(C)], shares(towards))
    along = shares(rng.uniform(-how.beyond, how.beyond, (pairs, C)))
    moved += along * (other - codes)
    deviation = rng.uniform(0, how.noise, (pairs, 1, 1)) * rng.standard_normal((pairs, C, D))
    moved += torch.from_numpy(np.repeat(deviation, 2, axis=0)).float()
    return moved.clamp(-1, 1) * torch.from_numpy(present)[:, :, None], reasons


def rebuilt(network: ImageNetwork, scenes: Scenes, how: Rebuilding, seed: int) -> Rebuilt:
    """Copies of all moments; a pure function of the seed."""
    rng = np.random.default_rng([seed, 31])
    codes, truths = encoded(network, scenes.pairs), scenes.reasons
    copies = [(codes, truths)] + [varied(codes, truths, how, rng) for _ in range(1, how.copies)]
    images = [painted(network, scenes.pairs.labels, z) for z, _ in copies]
    return Rebuilt(np.stack(images), np.stack([reasons for _, reasons in copies]))
