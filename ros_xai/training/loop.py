"""The training loop of every method: steps that depend on (seed, step) and nothing else.

A batch is a pure function of its generator, and the generator of step n is made from the seed and
n. So a run that was killed and resumed sees the batches it would have seen, no random state has to
be stored, and any number of processes (sharing.py) learns from the same ones.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.optim import Optimizer

from ros_xai.training.checkpoint import (
    AnotherRun,
    digest,
    load_checkpoint,
    save_checkpoint,
    write_atomic,
)
from ros_xai.training.distributed import Process
from ros_xai.training.sharing import average_gradients, shared

ALONE = Process()
Batch = dict[str, Tensor]
Metrics = dict[str, float]
About = Mapping[str, object]
NOTHING: About = MappingProxyType({})
LOG = "log.jsonl"
# What may change between the parts of a run: it does not matter, or lengthens the run.
APART = ("steps", "log_every", "checkpoint_every")


@dataclass(frozen=True)
class LoopConfig:
    """``warm_up``: steps of linearly rising rate; after it a cosine down to ``final_rate``.

    ``beta2``: how long Adam remembers the size of gradients. A gradient that comes after a quiet
    time moves every weight by up to (1 - beta1) / sqrt(1 - beta2) rates at once.
    """

    steps: int
    seed: int = 0
    learning_rate: float = 1e-4
    final_rate: float = 0.1  # share of the learning rate at the end
    warm_up: int = 0
    beta2: float = 0.999
    weight_decay: float = 1e-5
    clip_norm: float = 10.0
    log_every: int = 20
    checkpoint_every: int = 200


def generator(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """The random numbers of one step; training draws with rank 0 in all processes."""
    return np.random.default_rng([seed, step, rank])


def learning_rate(config: LoopConfig, step: int) -> float:
    """Rate of ``step`` (from 0)."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    done = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    cosine = (1 + np.cos(np.pi * done)) / 2
    return float(config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine))


def fit(
    module: nn.Module,
    make_batch: Callable[[np.random.Generator], Batch],
    config: LoopConfig,
    folder: Path,
    process: Process = ALONE,
    after_step: Callable[[int], bool] = lambda step: False,
    show: bool = True,
    about: About = NOTHING,
) -> Metrics:
    """Trains ``module``, whose forward maps a batch to named scalar losses with their sum "loss".

    Goes on from the checkpoint in ``folder`` when there is one, writes one every
    ``checkpoint_every`` steps and at the end, and a line to log.jsonl every ``log_every``.
    ``after_step`` is told the steps done and stops the run by returning True (in all processes
    alike). Several processes take the same steps as one, from the same checkpoint, so all must see
    ``folder``. Returns the losses of the last step.

    ``about``: what the result depends on beside ``config`` and the weights at the start, such as
    the method and a `digest` of the data; an entry "steps" is passed over.

    Raises:
        AnotherRun: the checkpoint differs in what the result depends on, or has more steps.
        FloatingPointError: a loss is not finite.
    """
    module.to(process.device).train()
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(
        trained,
        config.learning_rate,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )
    batches: Iterator[Batch] | None = None

    def step(number: int) -> Metrics:
        nonlocal batches
        batches = batches or _ahead(make_batch, config, range(number, config.steps))
        batch = {name: value.to(process.device) for name, value in next(batches).items()}
        return _step(module, optimizer, batch, config.clip_norm, process)

    return turns(step, module, optimizer, config, folder, process, after_step, show, about)


def turns(
    step: Callable[[int], Metrics],
    module: nn.Module,
    optimizer: Optimizer,
    config: LoopConfig,
    folder: Path,
    process: Process = ALONE,
    after_step: Callable[[int], bool] = lambda step: False,
    show: bool = True,
    about: About = NOTHING,
) -> Metrics:
    """`fit` for trainings whose step is more than one descent: calls ``step(number)``, which
    changes ``module`` by ``optimizer`` and depends on its number and on nothing random else, with
    ``fit``'s rates, checkpoints, log and progress."""
    with shared(module, process):
        run = _run(module, config, about)
        first, metrics = _resumed(module, optimizer, config.steps, folder, run)
        if process.is_first:
            _cut_log(folder, first)
        with _progress(config.steps, first, show and process.is_first) as advance:
            for number in range(first, config.steps):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(config, number)
                metrics = step(number)
                advance(metrics["loss"])
                done = number + 1
                stop = after_step(done) or done == config.steps
                if process.is_first and (stop or done % config.log_every == 0):
                    _log(folder, {"step": done, **metrics})
                if process.is_first and (stop or done % config.checkpoint_every == 0):
                    save_checkpoint(folder, done, module, optimizer, metrics=metrics, run=run)
                if stop:
                    break
    return metrics


def descend(
    optimizer: Optimizer,
    module: nn.Module,
    loss: Tensor,
    clip_norm: float,
    process: Process = ALONE,
) -> None:
    """One descent of ``module`` alone, whatever else of ``optimizer``'s the loss depends on.

    Raises FloatingPointError at a loss that is not finite.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss is not finite: {loss.item()}; lower the learning rate or look at the data"
        )
    parameters = [p for p in module.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    optimizer.zero_grad(set_to_none=True)
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient
    average_gradients(parameters, process)
    nn.utils.clip_grad_norm_(parameters, clip_norm)
    optimizer.step()


def _run(module: nn.Module, config: LoopConfig, about: About) -> dict[str, object]:
    """What makes the run this one: with anything else in it, other weights would come of it."""
    start = digest(*(p.detach().cpu().numpy() for p in module.parameters()))
    run = {**about, **asdict(config), "start weights": start}
    return {name: value for name, value in run.items() if name not in APART}


def _resumed(
    module: nn.Module,
    optimizer: Optimizer,
    steps: int,
    folder: Path,
    run: dict[str, object],
) -> tuple[int, Metrics]:
    """Steps done of the run and the losses of the last; the module and optimizer are as then."""
    state = load_checkpoint(folder, module, optimizer, run) or {"step": 0, "metrics": {}}
    if state["step"] > steps:
        raise AnotherRun(folder, f"{state['step']} steps there, {steps} asked")
    return state["step"], state["metrics"]


def _ahead(
    make_batch: Callable[[np.random.Generator], Batch],
    config: LoopConfig,
    steps: range,
) -> Iterator[Batch]:
    """The batches of ``steps``, each made while the one before is learned from."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Batch]] = deque()
        for step in steps:
            waiting.append(pool.submit(make_batch, generator(config.seed, step)))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _step(
    module: nn.Module, optimizer: Optimizer, batch: Batch, clip_norm: float, process: Process
) -> Metrics:
    losses: dict[str, Tensor] = module(batch)
    if not torch.isfinite(losses["loss"]):
        values = {name: value.item() for name, value in losses.items()}
        raise FloatingPointError(
            f"the loss is not finite: {values}; lower the learning rate or look at the data"
        )
    descend(optimizer, module, losses["loss"], clip_norm, process)
    return {name: value.item() for name, value in losses.items()}


def _log(folder: Path, line: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _cut_log(folder: Path, done: int) -> None:
    """Drops what a killed run logged after its checkpoint: those steps are taken again."""
    file = folder / LOG
    if file.is_file():
        lines = file.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= done]
        write_atomic(file, "".join(kept).encode())


@contextmanager
def _progress(steps: int, done: int, show: bool) -> Iterator[Callable[[float], None]]:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not show) as progress:
        task = progress.add_task("", total=steps, completed=done, loss=float("nan"))
        yield lambda loss: progress.update(task, advance=1, loss=loss)
