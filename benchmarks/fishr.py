"""Fishr against ERM, IRM, V-REx and CORAL: coloured digits, and rendered driving domains.

Digits: the ColoredMNIST protocol (Arjovsky et al., arXiv 1907.02893) on the 8x8 digits of
scikit-learn. The label is "below five", wrong for 25 %; colour agrees with the label for 90 % and
80 % in the two training domains and for 10 % in the test domain. A batch is drawn afresh from its
domain (digit, shift by a pixel, noise, colour), or 1000 digits would be learnt by heart.
Penalty weights are chosen on a validation domain of other digits, whose colour misleads for 70 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks import results
from benchmarks.fishr_driving import DRIVING, driving
from benchmarks.seeded import Finished, interval
from ros_xai.training.fishr import DomainSamples, Fishr, Penalty, fit_annealed, irm, vrex
from ros_xai.training.loop import Batch, LoopConfig

COMMAND = "ros_xai bench fishr"


@dataclass(frozen=True)
class DigitsConfig:
    """The protocol; no moving average, since batches are large and domains do not change."""

    label_noise: float = 0.25
    flips: tuple[float, float] = (0.1, 0.2)  # share of digits whose colour contradicts the label
    validation_flip: float = 0.7
    test_flip: float = 0.9
    hidden: int = 128
    per_domain: int = 2000  # fewer make the variances of gradients too noisy to match
    steps: int = 501
    anneal_steps: int = 190
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    grids: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("fishr", (1e6, 1e7, 1e8)),
        ("irm", (1e2, 1e3, 1e4)),
        ("vrex", (1e3, 1e4, 1e5)),
    )
    tuning_seeds: tuple[int, ...] = (100, 101, 102)


DIGITS = DigitsConfig()


@dataclass(frozen=True)
class Digits:
    """Grey digits [N, 64] in [0, 1] and whether each is below five, by part."""

    images: NDArray[np.float32]
    below_five: NDArray[np.bool_]


def split(seed: int) -> list[Digits]:
    """Two training parts of 500 digits, validation 300, test 497; no digit is in two parts."""
    from sklearn.datasets import load_digits

    images, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    images, below_five = (images[order] / 16).astype(np.float32), numbers[order] < 5
    borders = itertools.pairwise((0, 500, 1000, 1300, len(images)))
    return [Digits(images[a:b], below_five[a:b]) for a, b in borders]


def draw(
    digits: Digits, flip: float, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Coloured digits [N, 128] (64 pixels of one colour, 64 of the other) and noisy labels [N]."""
    chosen = rng.integers(len(digits.images), size=count)
    padded = np.pad(digits.images[chosen].reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    shift = rng.integers(0, 3, (2, count, 1)) + np.arange(8)
    images = padded[np.arange(count)[:, None, None], shift[0][:, :, None], shift[1][:, None]]
    label = digits.below_five[chosen] ^ (rng.random(count) < DIGITS.label_noise)
    colour = label ^ (rng.random(count) < flip)
    coloured = np.zeros((count, 2, 64), np.float32)
    coloured[np.arange(count), colour.astype(int)] = images.reshape(count, 64)
    return torch.from_numpy(coloured.reshape(count, 128)), torch.from_numpy(label).long()


class DigitClassifier(nn.Module):
    """Two hidden layers and a linear classifier; risk + weight * penalty."""

    def __init__(self, penalty: Penalty, weight: float) -> None:
        super().__init__()
        width = DIGITS.hidden
        self.featurise = nn.Sequential(
            nn.Linear(128, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.classify = nn.Linear(width, 2)
        for layer in (self.featurise[0], self.featurise[2], self.classify):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.penalty, self.weight = penalty, weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        domains = []
        for image, label in zip(batch["image"], batch["label"]):
            features = self.featurise(image)
            domains.append(DomainSamples(features, self.classify(features), label))
        risk = torch.stack([F.cross_entropy(d.logits, d.labels) for d in domains]).mean()
        penalty = self.penalty(domains)
        return {"loss": risk + self.weight * penalty, "risk": risk, "penalty": penalty}

    @torch.no_grad()
    def accuracy(self, image: Tensor, label: Tensor) -> float:
        """Share of right answers."""
        return float((self.classify(self.featurise(image)).argmax(1) == label).float().mean())


def train_digits(method: str, weight: float, seed: int) -> dict[str, float]:
    """Accuracies after training; for ERM and Fishr also the Fishr penalty before and after the
    step at which it is switched on.

    `grey` is ERM on digits whose colour says nothing: what shape alone can reach.
    """
    first, second, validation, test = split(seed)
    flips = (0.5, 0.5) if method == "grey" else DIGITS.flips
    torch.manual_seed(seed)
    penalty = {"irm": irm, "vrex": vrex}.get(method) or Fishr(2, 2, DIGITS.hidden, ema=0.0)
    module = DigitClassifier(penalty, weight)

    def make_batch(rng: np.random.Generator) -> Batch:
        parts = [draw(d, f, DIGITS.per_domain, rng) for d, f in zip((first, second), flips)]
        images, labels = zip(*parts)
        return {"image": torch.stack(images), "label": torch.stack(labels)}

    loop = LoopConfig(
        DIGITS.steps,
        seed,
        DIGITS.learning_rate,
        final_rate=1.0,
        weight_decay=DIGITS.weight_decay,
        clip_norm=float("inf"),
        checkpoint_every=DIGITS.steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        fit_annealed(module, make_batch, loop, DIGITS.anneal_steps, Path(folder))
        penalties = [
            json.loads((Path(folder) / phase / "log.jsonl").read_text().splitlines()[-1])["penalty"]
            for phase in ("annealing", "penalised")
        ]
    rng = np.random.default_rng([seed, 2])
    accuracies = {
        "train": module.accuracy(*draw(first, flips[0], 5000, rng)),
        "validation": module.accuracy(*draw(validation, DIGITS.validation_flip, 5000, rng)),
        "test": module.accuracy(*draw(test, DIGITS.test_flip, 5000, rng)),
    }
    if method in ("erm", "fishr"):
        accuracies |= {"penalty_when_switched_on": penalties[0], "penalty_at_end": penalties[1]}
    return accuracies


def digits(seeds: list[int]) -> dict[str, Any]:
    """Every method over the seeds, with the weight that its tuning seeds chose."""
    finished = Finished("fishr-digits", DIGITS)

    def result(method: str, weight: float, seed: int) -> dict[str, Any]:
        key = {"method": method, "weight": weight, "seed": seed}
        return finished.get(key, lambda: train_digits(method, weight, seed))

    weights = {"grey": 0.0, "erm": 0.0}
    for method, grid in DIGITS.grids:
        scores = [
            np.mean([result(method, w, seed)["validation"] for seed in DIGITS.tuning_seeds])
            for w in grid
        ]
        weights[method] = grid[int(np.argmax(scores))]
    figures = {}
    for method, weight in weights.items():
        runs = [result(method, weight, seed) for seed in seeds]
        names = [name for name in runs[0] if isinstance(runs[0][name], float) and name != "weight"]
        figures[method] = {"weight": weight} | {
            name: interval([run[name] for run in runs]) for name in names
        }
    return figures


def main(argv: list[str]) -> None:
    """Run both parts, or what is missing of them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds of the digits")
    parser.add_argument("--driving-seeds", type=int, default=3, help="seeds of the driving domains")
    parser.add_argument("--quick", action="store_true", help="one seed, digits only, no file")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.quick:
        digits([0])
        return
    figures = {
        "digits": digits(list(range(arguments.seeds))),
        "driving": driving(list(range(arguments.driving_seeds))),
    }
    results.write("fishr", COMMAND, figures, settings=[asdict(DIGITS), asdict(DRIVING)])


if __name__ == "__main__":
    main(sys.argv[1:])
