"""Shapley values against their definition, and what networks make them be."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ros_xai.data.forecasting import Recording
from ros_xai.forecasting.attribution import COALITIONS, attribution, shapley_values
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.network import Batch, Network, NetworkConfig, masked
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import windows

games = st.lists(st.floats(-100, 100), min_size=8, max_size=8)


@given(games)
def test_values_are_mean_contributions_over_all_orders_of_joining(game: list[float]) -> None:
    value = {tuple(c): v for c, v in zip(COALITIONS.int().tolist(), game)}
    expected = np.zeros(3)
    for order in permutations(range(3)):
        present = [0, 0, 0]
        for player in order:
            before = value[tuple(present)]
            present[player] = 1
            expected[player] += (value[tuple(present)] - before) / 6
    phi = shapley_values(torch.tensor(game, dtype=torch.float64))
    assert phi.tolist() == pytest.approx(expected, abs=1e-9)


@given(games)
def test_values_add_up_to_what_all_achieve(game: list[float]) -> None:
    phi = shapley_values(torch.tensor(game, dtype=torch.float64))
    assert phi.sum().item() == pytest.approx(game[-1] - game[0], abs=1e-9)


@torch.no_grad()
def test_shares_of_a_forecast_add_up_to_its_change_of_length(
    recording: Recording, raster: MapRaster
) -> None:
    torch.manual_seed(0)
    network = Network(NetworkConfig()).eval()
    data = windows(recording, raster, ContextConfig())
    batch = Batch(*(torch.from_numpy(column[:20]) for column in vars(data.features).values()))
    code = network.encode(batch)

    def length(code: torch.Tensor) -> torch.Tensor:
        likeliest = network.prior_logits(code).argmax(dim=-1)
        path = network.decode(code, batch).mean[torch.arange(20), likeliest]
        return (path[:, -1] - path[:, 0]).norm(dim=-1)

    phi = attribution(network, code, batch)
    nothing = masked(code, (0.0, 0.0, 0.0))
    assert phi.sum(dim=-1).numpy() == pytest.approx(
        (length(code) - length(nothing)).numpy(), abs=1e-3
    )
    no_map = attribution(network, masked(code, (1.0, 0.0, 1.0)), batch)
    assert no_map[:, 1].numpy() == pytest.approx(0, abs=1e-3)
    assert phi[:, 1].abs().max() > 0.01
