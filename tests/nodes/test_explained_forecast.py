"""The forecaster as a black box of its map and of its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.data.forecasting import HISTORY, STEP, Tracks
from ros_xai.explanation import metrics
from ros_xai.explanation.explainer import SobolExplainer
from ros_xai.forecasting.features import Features
from ros_xai.forecasting.forecaster import Forecaster, predict
from ros_xai.forecasting.network import Network, NetworkConfig
from ros_xai.forecasting.raster import MapRaster
from ros_xai.nodes import explained_forecast
from ros_xai.nodes.explained import Question

BATCH = 8


@pytest.fixture(scope="module")
def network() -> Network:
    """Any network whose context has a say."""
    torch.manual_seed(3)
    network = Network(NetworkConfig(block=8, decoder=12)).eval()
    with torch.no_grad():
        network.decoder.start.weight.mul_(4)
    return network


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    """The asked one drives along x; one neighbour ahead, one behind, one too far to be seen."""
    speed, past = 8.0, np.arange(1 - HISTORY, 1) * STEP
    start = np.array([[0.0, 0.0], [15.0, 3.0], [-12.0, 0.0], [400.0, 0.0]])
    xy = start[:, None] + past[None, :, None] * [speed, 0.0]
    names = np.array(["asked", "ahead", "behind", "far"])
    return Tracks(names, np.array(["vehicle"] * 4), xy, np.zeros(xy.shape[:2]))


@pytest.fixture(scope="module")
def raster() -> MapRaster:
    """A road along x, 8 m wide."""
    layers = np.zeros((400, 800, 3), np.uint8)
    layers[192:208, :, 0] = 255
    return MapRaster(layers, np.array([-200.0, -100.0]), 0.5)


@pytest.fixture(scope="module")
def agent(network: Network, tracks: Tracks, raster: MapRaster) -> Features:
    return explained_forecast.agent_features(network, tracks, raster, "asked")


def boxes(network: Network, agent: Features) -> list[Question]:
    makers = (explained_forecast.forecast_by_map, explained_forecast.forecast_by_neighbours)
    return [explained_forecast.about_forecast(make(network, agent, BATCH)) for make in makers]


def test_unmasked_inputs_give_the_forecasters_own_answer(
    network: Network, tracks: Tracks, raster: MapRaster, agent: Features
) -> None:
    answer = Forecaster(network)(tracks, raster)
    own = predict(network, agent)
    for question in boxes(network, agent):
        means, probabilities = question.box.predict(question.box.inputs[None])
        np.testing.assert_allclose(means[0], own.modes[0], atol=1e-4)
        np.testing.assert_allclose(probabilities[0], answer.probabilities[0], atol=1e-5)
        end = means[0, int(probabilities[0].argmax()), -1]
        # the agent's frame is the map frame moved to it: heading and position are 0
        np.testing.assert_allclose(
            end, answer.modes[0, own.probabilities[0].argmax(), -1], atol=1e-3
        )


def test_removing_everything_is_being_blind_to_it(network: Network, agent: Features) -> None:
    by_map, by_neighbours = boxes(network, agent)
    no_map = Features(agent.history, agent.neighbours, agent.neighbour_kind, 0 * agent.map)
    alone = Features(agent.history, agent.neighbours, 0 * agent.neighbour_kind, agent.map)
    for question, expected in ((by_map, no_map), (by_neighbours, alone)):
        nothing = np.zeros_like(question.box.inputs[None])
        means, probabilities = question.box.predict(nothing)
        np.testing.assert_allclose(means[0], predict(network, expected).modes[0], atol=1e-4)
        shift = question.target((means, probabilities))
        agreement = question.agreement((means, probabilities))
        assert float(shift) > 0
        assert float(agreement) == pytest.approx(np.exp(-float(shift) / 2))


def test_neighbours_that_are_not_there_have_an_index_of_exactly_zero(
    network: Network, agent: Features
) -> None:
    _, question = boxes(network, agent)
    M = agent.neighbours.shape[1]
    explainer = SobolExplainer(
        question.box.predict, (M, 1), 16, question.box.perturbation, BATCH, masks="binary"
    )
    values = explainer.explain(question.box.inputs, question.target).values[:, 0]
    assert (agent.neighbour_kind[0] > 0).sum() == 2
    assert (values[:2] > 0.01).all()
    assert not values[2:].any()


def test_a_map_explanation_can_be_tested_for_faithfulness(
    network: Network, agent: Features
) -> None:
    question, _ = boxes(network, agent)
    box = question.box
    explainer = SobolExplainer(box.predict, (8, 6), 8, box.perturbation, BATCH, masks="binary")
    attribution = explainer.explain(box.inputs, question.target)
    assert attribution.heatmap().shape == agent.map.shape[2:]
    # cells without a road hold nothing that could be removed
    road = agent.map[0, 0].reshape(8, 8, 6, 8).max((1, 3)) > 0
    assert road.any() and not attribution.values[~road].any()
    removed, _ = metrics.curves(
        box.predict,
        box.inputs,
        attribution,
        question.agreement,
        baseline=box.baseline,
        batch_size=BATCH,
    )
    assert removed.scores[0] == pytest.approx(1) and removed.scores[-1] < 1


def test_a_track_that_is_not_there_is_named(
    network: Network, tracks: Tracks, raster: MapRaster
) -> None:
    with pytest.raises(ValueError, match="no track 'gone'; there are ahead, asked"):
        explained_forecast.agent_features(network, tracks, raster, "gone")
