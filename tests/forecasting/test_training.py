"""Training reduces the loss, resumes, and anneals what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ros_xai.data.forecasting import Recording
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.network import BLIND, Batch, Network, NetworkConfig, masked
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import Windows, windows
from ros_xai.training.forecasting import (
    OBJECTIVES,
    NetworkBranches,
    Trainee,
    TrainingConfig,
    new_network,
    train,
)

SMALL = NetworkConfig(modes=3, block=8, decoder=8, map_channels=(4, 4, 4))


@pytest.fixture
def data(recording: Recording, raster: MapRaster) -> Windows:
    everything = windows(recording, raster, ContextConfig())
    return everything[everything.scored]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_learns_to_forecast(objective: str, data: Windows, tmp_path: Path) -> None:
    config = TrainingConfig(steps=40, batch=16, learning_rate=1e-2, warm_up=5)
    network = new_network(SMALL, seed=0)
    before = _error(network, data, objective)
    train(network, data, objective, config, 0, tmp_path, show=False)
    assert _error(network, data, objective) < 0.9 * before


@torch.no_grad()
def _error(network: Network, data: Windows, objective: str) -> float:
    batch = Batch(*(torch.from_numpy(column) for column in vars(data.features).values()))
    code = network.encode(batch)
    if objective == "no-context":
        code = masked(code, BLIND)
    modes = network.decode(code, batch).mean
    return float((modes - torch.from_numpy(data.future)[:, None]).norm(dim=-1).mean())


def test_a_training_cut_in_two_is_the_whole_one(data: Windows, tmp_path: Path) -> None:
    config = TrainingConfig(steps=8, batch=16)
    whole = _train(data, config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(data, config, tmp_path / "cut")
    resumed = _train(data, config, tmp_path / "cut")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def _train(data: Windows, config: TrainingConfig, folder: Path) -> Network:
    return train(new_network(SMALL, 3), data, "cab", config, 3, folder, show=False)


def _interrupted(data: Windows, config: TrainingConfig, folder: Path) -> None:
    """A run whose fourth step is its last: the checkpoint after it is that of `fit`."""
    from ros_xai.training import loop

    original = loop.LoopConfig.__init__

    def every_four(self: loop.LoopConfig, *args: object, **kwargs: object) -> None:
        original(self, *args, **kwargs, checkpoint_every=4)  # type: ignore[arg-type]

    saved = loop.save_checkpoint

    def save_and_stop(*args: object, **kwargs: object) -> None:
        saved(*args, **kwargs)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.LoopConfig, "__init__", every_four)
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        _train(data, config, folder)


def test_clip_and_kl_weight_rise_during_the_training(data: Windows) -> None:
    torch.manual_seed(0)
    seen: list[tuple[float, float]] = []

    def objective(branches, weights):  # type: ignore[no-untyped-def]
        seen.append((branches.clip, weights.kl))
        return branches.full.log_density.mean()

    config = TrainingConfig(steps=20)
    trainee = Trainee(Network(SMALL), objective, config)
    columns = {name: torch.from_numpy(c[:4]) for name, c in vars(data.features).items()}
    columns["future"] = torch.from_numpy(data.future[:4])
    for _ in range(20):
        trainee(columns)
    clips, weights = np.array(seen).T
    assert (np.diff(clips) > 0).all() and (np.diff(weights) > 0).all()
    assert clips[0] < 0.1 and clips[-1] == pytest.approx(5, rel=1e-3)
    assert weights[0] < 0.2 and weights[-1] == pytest.approx(10, rel=1e-3)
    assert weights[3] == pytest.approx(5)


def test_logits_stay_within_the_clip(data: Windows) -> None:
    torch.manual_seed(0)
    network = Network(SMALL)
    network.prior[-1].weight.data *= 100
    network.posterior[-1].weight.data *= 100
    batch = Batch(*(torch.from_numpy(column[:8]) for column in vars(data.features).values()))
    branches = NetworkBranches(network, batch, torch.from_numpy(data.future[:8]), clip=0.5)
    for branch in (branches.full, branches.blind):
        assert branch.prior.abs().max() == 0.5
        assert branch.posterior.abs().max() == 0.5
