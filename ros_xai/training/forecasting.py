"""Training of the forecasting network, the same for every objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ros_xai.forecasting import objectives
from ros_xai.forecasting.network import BLIND, Batch, Network, NetworkConfig, masked
from ros_xai.forecasting.objectives import Branch, Branches, Weights
from ros_xai.forecasting.windows import Windows
from ros_xai.training.distributed import Process
from ros_xai.training.loop import ALONE, LoopConfig, fit

Objective = Callable[[Branches, Weights], Tensor]

# The arms of the paper's comparison, and the one that isolates CAB's regulariser.
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
    """Steps and rates, the same for every objective. CAB: 5000 batches of 256 at 0.003, KL weight
    100; at this size and these few steps ten times less KL weight learns faster.

    Gradients come in bursts, when a mode that is sure of itself is wrong; with Adam's usual memory
    one burst can blow up the map encoder, which then never learns again: hence `beta2`.

    Logits of the latent are clipped to +-`clip`, which bounds the divergence that CAB maximises.
    Clip and KL weight rise along sigmoids centred at the given shares of the training.
    """

    steps: int = 4000
    batch: int = 128
    learning_rate: float = 5e-3
    warm_up: int = 200
    beta2: float = 0.99
    clip: float = 5.0
    clip_centre: float = 0.1
    kl_centre: float = 0.15
    weights: Weights = field(default_factory=lambda: Weights(kl=10.0))


class Trainee(nn.Module):
    """The network with its objective: batches to losses, annealed by the steps it has seen."""

    steps_seen: Tensor

    def __init__(self, network: Network, objective: Objective, config: TrainingConfig) -> None:
        super().__init__()
        self.network, self.objective, self.config = network, objective, config
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        config = self.config
        progress = int(self.steps_seen) / config.steps
        self.steps_seen += 1
        clip = config.clip * max(0.01, _rising(progress, config.clip_centre))
        weights = replace(
            config.weights, kl=config.weights.kl * _rising(progress, config.kl_centre)
        )
        inputs = Batch(*(batch[name] for name in Batch._fields))
        branches = NetworkBranches(self.network, inputs, batch["future"], clip)
        return {"loss": self.objective(branches, weights)}


@dataclass(frozen=True)
class NetworkBranches:
    """The branches of a batch with futures [B,T,2], logits centred and clipped to +-`clip`."""

    network: Network
    batch: Batch
    future: Tensor
    clip: float

    @cached_property
    def code(self) -> Tensor:
        return self.network.encode(self.batch)

    @cached_property
    def full(self) -> Branch:
        return self._branch(self.code)

    @cached_property
    def blind(self) -> Branch:
        return self._branch(masked(self.code, BLIND))

    def _branch(self, code: Tensor) -> Branch:
        network, clip = self.network, self.clip
        return Branch(
            prior=network.prior_logits(code).clamp(-clip, clip),
            posterior=network.posterior_logits(code, self.future).clamp(-clip, clip),
            log_density=objectives.log_density(network.decode(code, self.batch), self.future),
        )


def _rising(progress: float, centre: float) -> float:
    """From about 0 to 1 along a sigmoid at `centre`, as wide as a quarter of it."""
    return float(1 / (1 + np.exp(-(progress - centre) / (centre / 4))))


def new_network(config: NetworkConfig, seed: int) -> Network:
    """An untrained network that depends on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config)


def train(
    network: Network,
    data: Windows,
    objective: str,
    config: TrainingConfig,
    seed: int,
    folder: Path,
    process: Process = ALONE,
    show: bool = True,
) -> Network:
    """Train the network on windows that are all `scored`; resumes from the checkpoint in `folder`.

    The random numbers of the batches depend on the seed alone.
    """
    columns = {name: torch.from_numpy(column) for name, column in vars(data.features).items()}
    columns["future"] = torch.from_numpy(data.future)

    def make_batch(rng: np.random.Generator) -> dict[str, Tensor]:
        index = torch.from_numpy(rng.integers(len(data), size=config.batch))
        return {name: column[index] for name, column in columns.items()}

    loop = LoopConfig(
        steps=config.steps,
        seed=seed,
        learning_rate=config.learning_rate,
        warm_up=config.warm_up,
        beta2=config.beta2,
    )
    trainee = Trainee(network, OBJECTIVES[objective], config)
    # Not a digest: processors differ in the last bits of what windows are calculated from.
    windows = f"{len(data)} of mean future {data.future.mean():.4g}"
    about = {"objective": objective, "windows": windows, **asdict(config)}
    fit(trainee, make_batch, loop, folder, process, show=show, about=about)
    return network.cpu().eval()
