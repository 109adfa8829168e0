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
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.driving_renders import RENDERS, camvid, camvid_available, rendered, shrunk
from benchmarks.plop_plot import plot_forgetting
from benchmarks.seeded import Finished, interval
from ros_xai.data.segmentation import CAMVID
from ros_xai.segmentation.metrics import forgetting, iou
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.rehearsal import ObjectMemory
from ros_xai.training import plop, rehearsal
from ros_xai.training.loop import Batch, LoopConfig, fit
from ros_xai.training.plop import FITTED, ContinualConfig, Method
from ros_xai.training.segmentation import Labelled, Supervised, draw, score

COMMAND = "ros_xai bench plop"
HELD_OUT = " held out"


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
    budget: int = 64_000  # bytes of rehearsed objects per class, about three images


CONFIG = PlopConfig()
ORDER = [CAMVID.names.index(name) for name in CONFIG.order]


@dataclass(frozen=True)
class Arm:
    """A method, its learning rate in the continual steps, bytes of memory per class, and whether
    also classes of the first step are rehearsed, which nearly every image shows anyway."""

    method: Method
    rate: float = 1e-3
    budget: int = 0
    from_first: bool = False

    def changed(self, **config: Any) -> Arm:
        """The arm with other weights of its losses."""
        changed = replace(self.method.config, **config)
        return replace(self, method=replace(self.method, config=changed))


def arm(objective: str, rate: float = 1e-3, **config: Any) -> Arm:
    """An arm by its objective; only PLOP has a use for entropies."""
    entropy = config.pop("entropy", objective == "plop")
    return Arm(Method(objective, ContinualConfig(entropy=entropy, **config)), rate)


# Rates and weights are those that `ros_xai bench plop-tuning` found best on held-out images.
PLOP, MIB = Arm(Method("plop", FITTED), rate=3e-3), arm("mib", 1e-3, mib=30.0)
ARMS: dict[str, Arm] = {
    "fine-tuning": arm("fine-tuning"),
    "lwf": arm("lwf", 3e-3),
    "mib": MIB,
    "plop": PLOP,
    "plop-rehearsal": replace(PLOP, budget=CONFIG.budget),
    "plop-scale-1": PLOP.changed(scales=(1,)),
    "plop-argmax": PLOP.changed(entropy=False),
}
PAIRS = (
    ("joint", "plop-rehearsal"),
    ("plop-rehearsal", "plop"),
    ("plop", "mib"),
    ("mib", "lwf"),
    ("plop", "plop-scale-1"),
    ("plop", "plop-argmax"),
)


@cache
def data(name: str) -> tuple[Labelled, Labelled]:
    """Training and test samples at the size of the benchmark, labels as in CAMVID.

    HELD_OUT after the name: the last sixth of the training samples, which are in the order of
    their filming, takes the place of the test samples.
    """
    if name.endswith(HELD_OUT):
        train = data(name.removesuffix(HELD_OUT))[0]
        seam = len(train.images) * 5 // 6
        return train.take(slice(0, seam)), train.take(slice(seam, None))
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


def joint(name: str, seed: int) -> dict[str, Any]:
    """IoU per class of a network that saw all labels at once, for as many steps."""
    total = CONFIG.first_steps + CONFIG.steps * (len(ORDER) - CONFIG.first)
    return {"history": [scores(name, supervised(name, len(ORDER), total, seed))]}


def learn(name: str, arm: Arm, seed: int) -> dict[str, Any]:
    """IoU per class after every step."""
    train, rng = data(name)[0], np.random.default_rng(seed)
    network = first_network(name, CONFIG.first, CONFIG.first_steps, seed)
    memory = ObjectMemory(arm.budget) if arm.budget else None
    step = _seen(train, CONFIG.first, ORDER[: CONFIG.first])
    history, channels = [scores(name, network)], list(range(1, CONFIG.first + 1))
    for learnt in range(CONFIG.first + 1, len(ORDER) + 1):
        if memory is not None and (arm.from_first or len(channels) == 1):
            rehearsal.remember(memory, step, channels, rng)
        new = ORDER[learnt - 1]
        kept = plop.step_images(train.labels, [new], [], disjoint=False)
        step, channels = _seen(train.take(kept), learnt, [new]), [learnt]
        loop = LoopConfig(CONFIG.steps, seed, arm.rate, warm_up=10, checkpoint_every=CONFIG.steps)
        with tempfile.TemporaryDirectory() as folder:
            network = plop.learn_step(network, step, 1, arm.method, loop, Path(folder), memory)
        history.append(scores(name, network))
    return {"history": history}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """IoU after the last step: means of old, new and all classes, each; and what each forgot."""
    histories = [np.array(run["history"], dtype=np.float64) for run in runs]
    last = [history[-1] for history in histories]
    figures: dict[str, Any] = {
        "mIoU_all": interval([float(np.nanmean(row)) for row in last]),
        "mIoU_old": interval([float(np.nanmean(row[: CONFIG.first])) for row in last]),
        "mIoU_new": interval([float(np.nanmean(row[CONFIG.first :])) for row in last]),
        "IoU": dict(zip(CONFIG.order, np.mean(last, axis=0).round(4).tolist())),
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


def differences(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Final mean IoU of one arm minus that of another, paired by seed, for all of PAIRS."""

    def last(arm: str) -> NDArray[np.float64]:
        rows = [np.array(run["history"][-1], dtype=np.float64) for run in runs[arm]]
        return np.array([np.nanmean(row) for row in rows])

    return {f"{a} - {b}": interval(list(last(a) - last(b))) for a, b in PAIRS}


def run(name: str, seeds: list[int]) -> dict[str, Any]:
    """All arms on one data set, and how they differ."""
    finished = Finished(f"plop-{name}", (CONFIG, RENDERS))

    def runs(arm: str, learnt: Arm | None) -> list[dict[str, Any]]:
        keys = [{"data": name, "arm": arm, "method": repr(learnt), "seed": s} for s in seeds]
        return [
            finished.get(
                key, lambda s=s: learn(name, learnt, s) if learnt is not None else joint(name, s)
            )
            for key, s in zip(keys, seeds)
        ]

    found = {arm: runs(arm, learnt) for arm, learnt in {"joint": None, **ARMS}.items()}
    figures = {arm: summary(each) for arm, each in found.items()}
    return {**figures, "differences": differences(found)}


def settings() -> dict[str, Any]:
    """Budgets, and how every arm was trained."""
    return {**asdict(CONFIG), "arms": {name: asdict(arm) for name, arm in ARMS.items()}}


def main(argv: list[str]) -> None:
    """Run all arms, or what is missing of them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
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
    results.write("plop", command, figures, settings=settings(), renders=asdict(RENDERS))
    plot_forgetting(figures)


if __name__ == "__main__":
    main(sys.argv[1:])
