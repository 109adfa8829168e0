"""Trains a little by every method: `python every_method.py FOLDER [MODE]`, also under torchrun.

Writes FOLDER/METHOD.npz with the parameters before and after and the losses of the steps. Modes:
`double` calculates in float64; `killed` ends each training by SIGKILL in its fourth step and goes
on with it in another process.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # optimizers need it: forked processes would each load it again
from torch import nn

from ros_xai.data.forecasting import Recording, VectorMap
from ros_xai.depth.network import SMALL, build
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.network import NetworkConfig as ForecastingConfig
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import Windows, windows
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training import adaptation, forecasting, loop, plop, shipped_depth
from ros_xai.training import segmentation_recipes as recipes
from ros_xai.training.depth_batches import Augmentation, Beams
from ros_xai.training.distributed import Process, process_group
from ros_xai.training.loop import LoopConfig, Metrics
from ros_xai.training.mtuda import AdaptationConfig
from ros_xai.training.segmentation import Labelled
from tests.training.test_depth import RINGS, SHAPE, drive

STEPS, KILLED_IN = 6, 4
DOUBLE = "double" in sys.argv[2:]
LOOP = LoopConfig(STEPS, learning_rate=1e-3, checkpoint_every=2, log_every=1)
TINY = NetworkConfig(classes=3, widths=(8, 8, 16, 16), blocks=1, decoder=8)
RECIPE = recipes.Recipe(loop=LOOP, batch=6, pixels=64)
Train = Callable[[Path, Process], None]


def scenes(seed: int) -> Labelled:
    """Stripes of three classes, told apart by colour, some of them unlabelled."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (8, 4)).repeat(16, axis=1)[:, None].repeat(64, axis=1)
    images = (200 * np.eye(3)[labels] + rng.uniform(0, 50, (8, 64, 64, 3))).astype(np.uint8)
    labels[:, rng.integers(64, size=9)] = 255
    return Labelled(images, labels.astype(np.uint8))


def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(TINY)


def supervised(folder: Path, process: Process) -> None:
    recipes.supervised(network(), scenes(0), RECIPE, folder, process)


def generalised(method: str, folder: Path, process: Process) -> None:
    recipes.generalise(network(), [scenes(0), scenes(1)], method, RECIPE, folder, process)


def adapted(method: str, folder: Path, process: Process) -> None:
    config = AdaptationConfig(method=method, width=8, teacher_steps=2)
    targets = [scenes(1).images, scenes(2).images]
    recipes.adapt(network(), scenes(0), targets, config, RECIPE, folder, process)


def grown(method: str, folder: Path, process: Process) -> None:
    step = plop.Method(method, plop.ContinualConfig(entropy=method == "plop"), batch=4)
    plop.learn_step(network().eval(), scenes(0), 1, step, LOOP, folder, process=process)


def depth_of_worlds(folder: Path, process: Process) -> None:
    config = replace(
        shipped_depth.ShippedConfig(),
        augmentation=Augmentation(*SHAPE, rough=0.5),
        beams=Beams(RINGS, None, drop_returns=0.1, off=0.07),
        loop=LOOP,
    )
    shipped_depth.train([drive()], folder, config, process, show=False)


def adapted_depth(folder: Path, process: Process) -> None:
    torch.manual_seed(0)
    architecture = replace(SMALL, prior=True)
    config = adaptation.AdaptationConfig(
        steps=STEPS, batch=2, evaluate_every=2, validation=3, scale=(1.0, 1.0)
    )
    pretrained = build(architecture).eval()
    adaptation.adapt(pretrained, architecture, drive(8), RINGS, folder, config, process, show=False)


@functools.cache
def road() -> Windows:
    """Ten cars that drive straight on."""
    rng = np.random.default_rng(0)
    time = np.arange(120) * 0.1
    velocity = rng.uniform(2, 12, (10, 1)) * [1.0, 0.0]
    surface = np.array([[-200, -4], [200, -4], [200, 4], [-200, 4.0]])
    recording = Recording(
        name="road",
        time=time,
        id=np.array([f"agent {a}" for a in range(10)]),
        category=np.full(10, "vehicle"),
        xy=rng.uniform(-60, 60, (10, 2)) * [1, 0.05] + time[:, None, None] * velocity,
        yaw=np.zeros((120, 10)),
        map=VectorMap(drivable=(surface,), dividers=(), crossings=()),
    )
    everything = windows(recording, rasterize(recording.map), ContextConfig())
    return everything[everything.scored]


def forecast(objective: str, folder: Path, process: Process) -> None:
    small = ForecastingConfig(modes=3, block=8, decoder=8, map_channels=(4, 4, 4))
    fresh = forecasting.new_network(small, seed=0)
    config = forecasting.TrainingConfig(steps=STEPS, batch=16, warm_up=2)
    forecasting.train(fresh, road(), objective, config, 0, folder, process, show=False)


METHODS: dict[str, Train] = {
    "supervised": supervised,
    **{m: functools.partial(generalised, m) for m in recipes.GENERALISING},
    **{m: functools.partial(adapted, m) for m in recipes.ADAPTING},
    **{m: functools.partial(grown, m) for m in recipes.GROWING},
    "depth of worlds": depth_of_worlds,
    "adapted depth": adapted_depth,
    **{f"forecast {o}": functools.partial(forecast, o) for o in forecasting.OBJECTIVES},
}


def watched(kill_in: int | None = None) -> dict[str, np.ndarray]:
    """Makes the loop keep what it trains; with `kill_in` its step of that number never ends."""
    seen: dict[str, np.ndarray] = {}
    step, number = loop._step.__wrapped__, 0  # type: ignore[attr-defined]

    def watching(module: nn.Module, *arguments: object) -> dict[str, float]:
        nonlocal number
        number += 1
        if number == kill_in:
            os.kill(os.getpid(), signal.SIGKILL)
        if DOUBLE:
            module.double()
        seen.setdefault("before", flat(module))
        losses = in_double(step, module, *arguments) if DOUBLE else step(module, *arguments)
        seen["after"] = flat(module)
        seen.setdefault("losses", np.zeros(0))
        seen["losses"] = np.append(seen["losses"], losses["loss"])
        return losses

    watching.__wrapped__ = step  # type: ignore[attr-defined]
    loop._step = watching
    return seen


def in_double(step: Callable[..., Metrics], module: nn.Module, *arguments: Any) -> Metrics:
    """The step in float64, also what modules make a float."""
    optimizer, batch, *rest = arguments
    wide = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    float_ = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double  # type: ignore[assignment, method-assign]
    torch.set_default_dtype(torch.float64)
    try:
        return step(module, optimizer, wide, *rest)
    finally:
        torch.Tensor.float = float_  # type: ignore[method-assign]
        torch.set_default_dtype(torch.float32)


def flat(module: nn.Module) -> np.ndarray:
    """All parameters and statistics as one vector."""
    state = module.state_dict()
    return torch.cat([v.detach().double().reshape(-1) for v in state.values()]).numpy()


def main(folder: Path, killed: bool) -> None:
    torch.set_num_threads(1)
    loop._step.__wrapped__ = loop._step  # type: ignore[attr-defined]
    often = functools.partial(LoopConfig, log_every=1)
    adaptation.LoopConfig = often  # type: ignore[misc]
    forecasting.LoopConfig = functools.partial(often, checkpoint_every=2)  # type: ignore[misc]
    with process_group() as process:
        for name, train in METHODS.items():
            out = folder / name
            if killed:
                in_another_process(lambda t=train, o=out: (watched(KILLED_IN), t(o, Process())))
                assert list(out.rglob("state.json")), f"{name} left no checkpoint"

            def learn(name: str = name, train: Train = train, out: Path = out) -> None:
                seen = watched()
                train(out, process)
                if process.is_first:
                    np.savez(folder / f"{name}.npz", **seen)

            in_another_process(learn) if killed else learn()


def in_another_process(work: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a training failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]), killed="killed" in sys.argv[2:])
