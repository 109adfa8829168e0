"""Unlabelled adaptation to several targets: source only, ADVENT, Multi-Dis. and MTKT.

Two settings: clear rendered days to three other rendered looks, and rendered days to CamVid's days
and dusk (real; labels only score). Every arm starts from the same network trained on the source,
and sees as many source images as any other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import results
from benchmarks.driving_renders import RENDERS, camvid, camvid_available, rendered, shrunk
from benchmarks.seeded import Finished, interval
from ros_xai.segmentation.metrics import mean_iou
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training.loop import Batch, LoopConfig, fit
from ros_xai.training.mtuda import Adaptation, AdaptationConfig, adaptation_batch
from ros_xai.training.segmentation import Augmentation, Labelled, Supervised, draw, score

COMMAND = "ros_xai bench mtuda"


@dataclass(frozen=True)
class MtudaConfig:
    """Budgets of the small reproduction, about 8 minutes of one core a seed."""

    height: int = 72
    width: int = 96
    network: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(widths=(12, 24, 48, 96), blocks=1, decoder=32)
    )
    source_steps: int = 800
    source_batch: int = 8
    steps: int = 200
    per_domain: int = 2
    learning_rate: float = 2e-3
    adaptation_rate: float = 5e-4
    adaptation: AdaptationConfig = field(
        default_factory=lambda: AdaptationConfig(
            adversarial=1e-3, auxiliary_adversarial=2e-4, teacher_steps=50, width=16
        )
    )
    # Looks are what the domains differ in: augmenting them would hide the difference.
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(jitter=0.0))


CONFIG = MtudaConfig()


class Setting(NamedTuple):
    """A source, targets by name for training (labels are never read) and all that is scored."""

    source: Labelled
    targets: dict[str, Labelled]
    scored: dict[str, Labelled]

    def small(self) -> Setting:
        """The same at the size of the benchmark."""
        source, *parts = [self.source, *self.targets.values(), *self.scored.values()]
        source, *parts = (shrunk(p, CONFIG.height, CONFIG.width) for p in (source, *parts))
        targets = dict(zip(self.targets, parts))
        return Setting(source, targets, dict(zip(self.scored, parts[len(targets) :])))


@cache
def rendered_setting() -> Setting:
    """Clear days to dusk, rain and another camera; night and fog are never seen."""
    targets = ("dusk", "rain", "camera_b")
    scored = {name: rendered(name, test=True) for name in (*targets, "night", "fog", "clear")}
    source = rendered("clear", source=True)
    return Setting(source, {name: rendered(name) for name in targets}, scored).small()


@cache
def camvid_setting() -> Setting:
    """Rendered days to CamVid: days, and dusk (0001TP; one half adapts, the other is scored)."""
    day, dusk = camvid("train", ("0006R0", "0016E5")), camvid("train", ("0001TP",))
    half = len(dusk.images) // 2
    targets = {"camvid_day": day, "camvid_dusk": dusk.take(slice(half))}
    scored = {"camvid_day": camvid("val"), "camvid_dusk": dusk.take(slice(half, None))}
    return Setting(rendered("clear", source=True), targets, scored).small()


SETTINGS: dict[str, Callable[[], Setting]] = {
    "rendered": rendered_setting,
    "camvid": camvid_setting,
}


def arms(setting: Setting) -> dict[str, tuple[AdaptationConfig, list[str]]]:
    """Name of every arm: its configuration and the targets it trains on."""
    base, names = CONFIG.adaptation, list(setting.targets)
    return {
        "source-only": (replace(base, method="source-only"), names),
        **{f"advent-{name}": (replace(base, method="advent"), [name]) for name in names},
        "advent-union": (replace(base, method="advent"), names),
        "multi-dis": (replace(base, method="multi-dis"), names),
        "mtkt": (replace(base, method="mtkt"), names),
    }


@cache
def source_network(name: str, seed: int) -> SegmentationNetwork:
    """The network that all arms of a setting start from."""
    torch.manual_seed(seed)
    network = SegmentationNetwork(CONFIG.network).to(memory_format=torch.channels_last)
    source = SETTINGS[name]().source

    def make_batch(rng: np.random.Generator) -> Batch:
        return draw(source, CONFIG.source_batch, rng, CONFIG.augmentation)

    loop = LoopConfig(
        CONFIG.source_steps,
        seed,
        CONFIG.learning_rate,
        warm_up=20,
        checkpoint_every=CONFIG.source_steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(Supervised(network), make_batch, loop, Path(folder), show=False)
    return network


def adapt(name: str, config: AdaptationConfig, targets: list[str], seed: int) -> dict[str, Any]:
    """mIoU of every scored domain after adaptation, and how well domains are told apart."""
    setting = SETTINGS[name]()
    torch.manual_seed(seed)
    module = Adaptation(source_network(name, seed), config, len(targets))
    images = [setting.targets[target].images for target in targets]

    def make_batch(rng: np.random.Generator) -> Batch:
        return adaptation_batch(setting.source, images, CONFIG.per_domain, rng, CONFIG.augmentation)

    loop = LoopConfig(
        CONFIG.steps, seed, CONFIG.adaptation_rate, warm_up=20, checkpoint_every=CONFIG.steps
    )
    with tempfile.TemporaryDirectory() as folder:
        last = fit(module, make_batch, loop, Path(folder), show=False)
    network = module.deployed()
    scores = {d: mean_iou(score(network, data)) for d, data in setting.scored.items()}
    return {"mIoU": scores, "domain_accuracy": last.get("domain_accuracy")}


def run(name: str, seeds: list[int]) -> dict[str, Any]:
    """All arms of a setting; `mIoU_targets` is the mean over the targets."""
    setting, figures = SETTINGS[name](), {}
    finished = Finished(f"mtuda-{name}", (CONFIG, RENDERS))
    for arm, (config, targets) in arms(setting).items():
        runs = [
            finished.get(
                {"setting": name, "arm": arm, "seed": seed},
                lambda c=config, t=targets, s=seed: adapt(name, c, t, s),
            )
            for seed in seeds
        ]
        means = [float(np.mean([r["mIoU"][t] for t in setting.targets])) for r in runs]
        figures[arm] = {
            "mIoU_targets": interval(means),
            "mIoU": {d: interval([r["mIoU"][d] for r in runs]) for d in setting.scored},
        }
        if runs[0]["domain_accuracy"] is not None:
            figures[arm]["domain_accuracy"] = interval([r["domain_accuracy"] for r in runs])
    return figures


def main(argv: list[str]) -> None:
    """Run all arms, or what is missing of them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, rendered only, no file")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.quick:
        run("rendered", [0])
        return
    names = list(SETTINGS) if camvid_available() else ["rendered"]
    figures = {name: run(name, list(range(arguments.seeds))) for name in names}
    results.write("mtuda", COMMAND, figures, settings=asdict(CONFIG), renders=asdict(RENDERS))


if __name__ == "__main__":
    main(sys.argv[1:])
