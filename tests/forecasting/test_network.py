"""What the network must do whatever its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.data.forecasting import Recording
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.network import ALL, BLIND, Batch, Network, NetworkConfig, masked
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import windows


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(NetworkConfig()).eval()


@pytest.fixture
def batch(recording: Recording, raster: MapRaster) -> Batch:
    data = windows(recording, raster, ContextConfig())
    return Batch(*(torch.from_numpy(column[:16]) for column in vars(data.features).values()))


def test_it_is_small_enough_for_a_cpu(network: Network) -> None:
    assert 50_000 < sum(p.numel() for p in network.parameters()) < 100_000


@torch.no_grad()
def test_forecasts_start_from_the_motion_of_the_agent(network: Network, batch: Batch) -> None:
    modes = network.decode(network.encode(batch), batch)
    speed = batch.history[:, -1, 2:4].norm(dim=-1)
    first = modes.mean[:, :, 0].norm(dim=-1)
    # Half a second at the present speed, give or take the largest acceleration.
    assert (first - 0.5 * speed[:, None]).abs().max() < 0.5**2 / 2 * 8 + 1e-3
    assert modes.mean.shape == (16, 6, 12, 2)


@torch.no_grad()
def test_covariances_are_positive_and_grow(network: Network, batch: Batch) -> None:
    covariance = network.decode(network.encode(batch), batch).covariance
    eigenvalues = torch.linalg.eigvalsh(covariance)
    assert (eigenvalues > 0).all()
    assert (covariance[:, :, 1:].det() > covariance[:, :, :-1].det()).all()


@torch.no_grad()
def test_the_blind_branch_sees_the_state_alone(network: Network, batch: Batch) -> None:
    other = batch._replace(
        map=255 - batch.map,
        neighbours=batch.neighbours + 1,
        neighbour_kind=1 - batch.neighbour_kind.clamp(max=1),
    )
    code, other_code = network.encode(batch), network.encode(other)
    assert not torch.allclose(code[:, 1], other_code[:, 1])
    assert not torch.allclose(code[:, 2], other_code[:, 2])
    assert torch.equal(masked(code, BLIND), masked(other_code, BLIND))
    assert torch.equal(masked(code, ALL), code)
    moved = batch._replace(history=batch.history * 0.5)
    assert not torch.allclose(masked(network.encode(moved), BLIND), masked(code, BLIND))


@torch.no_grad()
def test_without_map_and_neighbours_the_full_branch_is_the_blind_one(
    network: Network, batch: Batch
) -> None:
    alone = batch._replace(
        map=torch.zeros_like(batch.map), neighbour_kind=torch.zeros_like(batch.neighbour_kind)
    )
    code = network.encode(alone)
    assert torch.equal(masked(code, BLIND), code)


@torch.no_grad()
def test_the_order_of_neighbours_and_what_is_no_neighbour_do_not_matter(
    network: Network, batch: Batch
) -> None:
    code = network.encode(batch)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    shuffled = batch._replace(
        neighbours=batch.neighbours[:, order], neighbour_kind=batch.neighbour_kind[:, order]
    )
    assert torch.allclose(network.encode(shuffled), code, atol=1e-5)
    absent = (batch.neighbour_kind == 0)[..., None, None]
    assert absent.any()
    assert torch.equal(
        network.encode(batch._replace(neighbours=batch.neighbours + absent * 9.0)), code
    )


@torch.no_grad()
def test_agents_do_not_depend_on_who_else_is_in_the_batch(network: Network, batch: Batch) -> None:
    together = network.decode(network.encode(batch), batch).mean
    one = Batch(*(column[3:4] for column in batch))
    assert torch.allclose(network.decode(network.encode(one), one).mean[0], together[3], atol=1e-4)


@torch.no_grad()
def test_single_modes_are_those_of_the_mixture(network: Network, batch: Batch) -> None:
    code = network.encode(batch)
    wanted = torch.arange(16)[:, None] % 6
    modes = network.decode(code, batch, wanted)
    everything = network.decode(code, batch)
    index = np.arange(16), wanted[:, 0]
    assert torch.allclose(modes.mean[:, 0], everything.mean[index], atol=1e-5)
    assert torch.allclose(modes.covariance[:, 0], everything.covariance[index], atol=1e-5)
    assert torch.allclose(network.paths(code, batch), everything.mean, atol=1e-4)
    assert torch.allclose(network.paths(code, batch, wanted), modes.mean, atol=1e-4)
