"""Six continual steps on CamVid's 11 classes: fine-tuning, LwF, MiB, PLOP, rehearsal, joint.

Step 0 labels six classes, each later step one more and nothing else. Two data sets: CamVid
(ROS_XAI_DATA) and rendered streets. All arms of a seed start from the same network.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import results
from benchmarks.driving_renders import RENDERS, camvid, camvid_available, rendered, shrunk
from benchmarks.plop_plot import plot_forgetting
from benchmarks.seeded import Finished, interval
from ros_xai.data.segmentation import CAMVID
from ros_xai.segmentation.metrics import forgetting, iou
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.rehearsal import ObjectMemory
from ros_xai.training import plop
from ros_xai.training.loop import Batch, LoopConfig, fit
from ros_xai.training.plop import ContinualConfig, Method
from ros_xai.training.segmentation import Labelled, Supervised, draw, score

COMMAND = "ros_xai bench plop"


@dataclass(frozen=True)
class PlopConfig:
    """Budgets of the small reproduction.

    order: among the first six are the three that a street always shows and three thin or rare
    ones; the later five are large enough to be learnt at this size.
    """

    height: int = 72
    width: int = 96
    network: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(
            classes=7, widths=(12, 24, 48, 96), blocks=1, decoder=32
        )
    )
    order: tuple[str, ...] = (
        *("sky", "building", "road", "pole", "sign", "pedestrian"),
        *("pavement", "tree", "fence", "car", "bicyclist"),
    )
    first: int = 6
    first_steps: int = 600
    first_rate: float = 2e-3
    steps: int = 100
    rate: float = 1e-3
    budget: int = 64_000  # bytes of rehearsed objects per class, about three images


CONFIG = PlopConfig()
ORDER = [CAMVID.names.index(name) for name in CONFIG.order]
PLOP = ContinualConfig()
NO_ENTROPY = replace(PLOP, entropy=False)
# Name of every arm: method, and bytes of memory per class.
ARMS: dict[str, tuple[Method, int]] = {
    "fine-tuning": (Method("fine-tuning", NO_ENTROPY), 0),
    "lwf": (Method("lwf", NO_ENTROPY), 0),
    "mib": (Method("mib", NO_ENTROPY), 0),
    "plop": (Method("plop", PLOP), 0),
    "plop-rehearsal": (Method("plop", PLOP), CONFIG.budget),
    "mib-rehearsal": (Method("mib", NO_ENTROPY), CONFIG.budget),
    "plop-scale-1": (Method("plop", replace(PLOP, scales=(1,))), 0),
    "plop-argmax": (Method("plop", NO_ENTROPY), 0),
    "plop-weak-pod": (Method("plop", replace(PLOP, backbone_factor=1e-3, logits_factor=5e-5)), 0),
}


@cache
def data(name: str) -> tuple[Labelled, Labelled]:
    """Training and test samples at the size of the benchmark, labels as in CAMVID."""
    if name == "camvid":
        return _small(camvid("train")), _small(camvid("val"))
    return _small(rendered("clear", source=True)), _small(rendered("clear", test=True))


def _small(samples: Labelled) -> Labelled:
    return shrunk(samples, CONFIG.height, CONFIG.width)


def _seen(samples: Labelled, learnt: int, visible: list[int]) -> Labelled:
    return Labelled(samples.images, plop.step_labels(samples.labels, ORDER[:learnt], visible))


def supervised(name: str, classes: int, steps: int, seed: int) -> SegmentationNetwork:
    """A network trained on all labels of the first `classes` classes."""
    train = _seen(data(name)[0], classes, ORDER[:classes])
    torch.manual_seed(seed)
    network = SegmentationNetwork(replace(CONFIG.network, classes=classes + 1))
    network = network.to(memory_format=torch.channels_last)

    def make_batch(rng: np.random.Generator) -> Batch:
        return draw(train, 8, rng, Method().augmentation)

    loop = LoopConfig(
        steps, seed, CONFIG.first_rate, final_rate=0.05, warm_up=20, checkpoint_every=steps
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(Supervised(network), make_batch, loop, Path(folder), show=False)
    return network.eval()


first_network = cache(supervised)


def scores(name: str, network: SegmentationNetwork) -> list[float | None]:
    """IoU per class of ORDER on the test samples; None where not learnt or not there."""
    learnt = network.config.classes - 1
    matrix = score(network, _seen(data(name)[1], learnt, ORDER[:learnt]))
    found = np.where(matrix.sum(1) > 0, iou(matrix), np.nan)[1:]
    padded = [*found, *[np.nan] * (len(ORDER) - learnt)]
    return [None if np.isnan(value) else round(float(value), 4) for value in padded]


def learn(name: str, arm: str, seed: int) -> dict[str, Any]:
    """IoU per class after every step."""
    if arm == "joint":
        total = CONFIG.first_steps + CONFIG.steps * (len(ORDER) - CONFIG.first)
        return {"history": [scores(name, supervised(name, len(ORDER), total, seed))]}
    method, budget = ARMS[arm]
    train, rng = data(name)[0], np.random.default_rng(seed)
    network = first_network(name, CONFIG.first, CONFIG.first_steps, seed)
    memory = ObjectMemory(budget) if budget else None
    step = _seen(train, CONFIG.first, ORDER[: CONFIG.first])
    history, channels = [scores(name, network)], list(range(1, CONFIG.first + 1))
    for learnt in range(CONFIG.first + 1, len(ORDER) + 1):
        if memory is not None:
            plop.remember(memory, step, channels, rng)
        new = ORDER[learnt - 1]
        kept = plop.step_images(train.labels, [new], [], disjoint=False)
        step, channels = _seen(train.take(kept), learnt, [new]), [learnt]
        loop = LoopConfig(
            CONFIG.steps, seed, CONFIG.rate, warm_up=10, checkpoint_every=CONFIG.steps
        )
        with tempfile.TemporaryDirectory() as folder:
            network = plop.learn_step(network, step, 1, method, loop, Path(folder), memory)
        history.append(scores(name, network))
    return {"history": history}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of old, new and all classes after the last step, and what every class forgot."""
    histories = [np.array(run["history"], dtype=np.float64) for run in runs]
    last = [history[-1] for history in histories]
    figures: dict[str, Any] = {
        "mIoU_all": interval([float(np.nanmean(row)) for row in last]),
        "mIoU_old": interval([float(np.nanmean(row[: CONFIG.first])) for row in last]),
        "mIoU_new": interval([float(np.nanmean(row[CONFIG.first :])) for row in last]),
    }
    if len(histories[0]) > 1:
        steps = zip(*([float(np.nanmean(row)) for row in history] for history in histories))
        figures["mIoU_all_by_step"] = [interval(step)["mean"] for step in steps]
        lost = np.mean([forgetting(history) for history in histories], axis=0)
        figures["forgetting"] = {
            name: None if np.isnan(value) else round(float(value), 4)
            for name, value in zip(CONFIG.order, lost)
        }
    return figures


def run(name: str, seeds: list[int]) -> dict[str, Any]:
    """All arms on one data set."""
    finished = Finished(f"plop-{name}", (CONFIG, RENDERS))
    return {
        arm: summary(
            [
                finished.get(
                    {"data": name, "arm": arm, "method": repr(ARMS.get(arm)), "seed": seed},
                    lambda a=arm, s=seed: learn(name, a, s),
                )
                for seed in seeds
            ]
        )
        for arm in ("joint", *ARMS)
    }


def main(argv: list[str]) -> None:
    """Run all arms, or what is missing of them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", choices=("camvid", "world"), help="one data set only")
    parser.add_argument("--quick", action="store_true", help="one seed of the world, no file")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.quick:
        run("world", [0])
        return
    names = ["camvid", "world"] if camvid_available() else ["world"]
    if arguments.data:
        names = [arguments.data]
    figures = {name: run(name, list(range(arguments.seeds))) for name in names}
    command = COMMAND + (f" --data {arguments.data}" if arguments.data else "")
    results.write("plop", command, figures, settings=asdict(CONFIG), renders=asdict(RENDERS))
    plot_forgetting(figures)


if __name__ == "__main__":
    main(sys.argv[1:])
