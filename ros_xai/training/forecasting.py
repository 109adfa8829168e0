"""Training of the forecasting network, the same for every objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ros_xai.forecasting import objectives
from ros_xai.forecasting.network import (
    BLIND,
    Batch,
    Network,
    masked,
)
from ros_xai.forecasting.objectives import Branch, Weights
from ros_xai.forecasting.windows import Windows

Objective = Callable[[Branch, Branch, Weights], Tensor]

# The arms of the paper's comparison and the one that isolates its regulariser.
OBJECTIVES: dict[str, Objective] = {
    "no-context": objectives.no_context,
    "base": objectives.base,
    "blind-loss": objectives.blind_loss,
    "reweight": objectives.reweight,
    "rubiz": objectives.rubiz,
    "cab": objectives.cab,
}


@dataclass(frozen=True)
class TrainingConfig:
    """Steps and rates. CAB: batches of 256 at 0.003 for 40 epochs, about 5000 steps.

    Logits of the latent are clipped to +-`clip`, which bounds the divergence that CAB maximises;
    clip and KL weight rise along sigmoids centred at the given shares of the training.
    """

    steps: int = 4000
    batch: int = 128
    learning_rate: float = 3e-3
    final_rate: float = 0.05  # share of the learning rate left at the end
    clip: float = 5.0
    clip_centre: float = 0.1
    kl_centre: float = 0.15
    gradient_limit: float = 1.0
    weights: Weights = field(default_factory=Weights)


def train(
    data: Windows, objective: Objective, config: TrainingConfig, network: Network, seed: int
) -> Iterator[float]:
    """Train in place, yielding the loss of each step. All windows must be `scored` ones."""
    tensors = to_batch(data), torch.from_numpy(data.future)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    decay = torch.optim.lr_scheduler.ExponentialLR(
        optimizer, config.final_rate ** (1 / config.steps)
    )
    torch.manual_seed(seed)
    network.train()
    for step, index in enumerate(_batches(len(data), config, seed)):
        batch, future = Batch(*(column[index] for column in tensors[0])), tensors[1][index]
        progress = step / config.steps
        clip = config.clip * _sigmoid_anneal(progress, config.clip_centre, start=0.01)
        kl = config.weights.kl * _sigmoid_anneal(progress, config.kl_centre)
        full, blind = branches(network, batch, future, clip)
        loss = objective(full, blind, replace(config.weights, kl=kl))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_value_(network.parameters(), config.gradient_limit)
        optimizer.step()
        decay.step()
        yield float(loss.detach())


def branches(network: Network, batch: Batch, future: Tensor, clip: float) -> tuple[Branch, Branch]:
    """The full and the blind branch of a batch, decoded together."""
    code = network.encode(batch)
    both = torch.cat([code, masked(code, BLIND)])
    twice = Batch(*(torch.cat([column, column]) for column in batch))
    truth = torch.cat([future, future])
    density = objectives.log_density(network.decode(both, twice), truth)
    prior = network.prior_logits(both).clamp(-clip, clip)
    posterior = network.posterior_logits(both, truth).clamp(-clip, clip)
    columns = [column.chunk(2) for column in (prior, posterior, density)]
    return Branch(*(c[0] for c in columns)), Branch(*(c[1] for c in columns))


def to_batch(data: Windows) -> Batch:
    return Batch(*(torch.from_numpy(column) for column in vars(data.features).values()))


def _batches(count: int, config: TrainingConfig, seed: int) -> Iterator[Tensor]:
    """Indices of `config.steps` batches, epoch by epoch, the incomplete last ones left out."""
    generator = torch.Generator().manual_seed(seed)
    size, left = min(config.batch, count), config.steps
    while left > 0:
        epoch = torch.randperm(count, generator=generator)
        yield from epoch.split(size)[: min(left, count // size)]
        left -= min(left, count // size)


def _sigmoid_anneal(progress: float, centre: float, start: float = 0.0) -> float:
    """From about `start` to 1 along a sigmoid at `centre`, a quarter of it wide."""
    return start + (1 - start) / (1 + np.exp(-(progress - centre) / (centre / 4)))
