"""The forecaster as a black box: which part of the map, or which neighbours, a forecast rests on.

Needs no ROS. Maps and neighbours are laid out as images, so that explainers and metrics are those
of the other tasks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.data.forecasting import Tracks
from ros_xai.explanation.perturbations import Thin, zero
from ros_xai.explanation.scoring import fixed_batch
from ros_xai.explanation.targets import EndPointAgreement, EndPointShift, most_likely_end
from ros_xai.forecasting.features import Features, features, rotation_into, track_states
from ros_xai.forecasting.network import Batch, Network
from ros_xai.forecasting.raster import MapRaster
from ros_xai.nodes.explained import BlackBox, Question
from ros_xai.nodes.explained_view import View

Array = NDArray[np.float32]
BY = ("map", "neighbours")
_ENLARGED = 6  # pixels of the picture per cell of a map crop


def agent_features(network: Network, tracks: Tracks, raster: MapRaster, track: str) -> Features:
    """What the network sees of one of the tracks.

    Raises ValueError when there is none of that id.
    """
    chosen = np.flatnonzero(tracks.id == track)
    if len(chosen) == 0:
        raise ValueError(f"no track {track!r}; there are {', '.join(sorted(tracks.id)) or 'none'}")
    config = network.config.context
    smoothed = raster.smoothed(config.crop.resolution)
    return features(track_states(tracks), tracks.category, chosen[:1], smoothed, config)


def forecast_by_map(network: Network, agent: Features, batch_size: int) -> BlackBox:
    """Trajectories [n, K, T, 2] (m, agent's frame) and probabilities [n, K] as a function of the
    map crop [3, rows, columns] (coverage 0..255, heading up), all else being as it is."""

    def predict(crops: Array) -> tuple[torch.Tensor, torch.Tensor]:
        return _forecast(network, agent, map=torch.from_numpy(crops.round().astype(np.uint8)))

    return BlackBox(agent.map[0].astype(np.float32), fixed_batch(predict, batch_size), Thin(), zero)


def forecast_by_neighbours(network: Network, agent: Features, batch_size: int) -> BlackBox:
    """The same as a function of the M neighbours, nearest first: float32 [history * 8, M, 1].

    A neighbour is a cell of the grid (M, 1); one that is all zero is not there.
    """
    _, M, steps, states = agent.neighbours.shape
    inputs = agent.neighbours[0].reshape(M, -1).T[..., None]

    def predict(columns: Array) -> tuple[torch.Tensor, torch.Tensor]:
        rows = columns[..., 0].transpose(0, 2, 1)  # [n, M, history * 8]
        kind = np.where((rows != 0).any(-1), agent.neighbour_kind, 0)
        neighbours = torch.from_numpy(rows.reshape(-1, M, steps, states).copy())
        kinds = torch.from_numpy(kind)
        return _forecast(network, agent, neighbours=neighbours, neighbour_kind=kinds)

    return BlackBox(np.ascontiguousarray(inputs), fixed_batch(predict, batch_size), Thin(), zero)


def about_forecast(box: BlackBox) -> Question:
    """Why the agent's most likely end point is where it is."""
    end = most_likely_end(*box.predict(box.inputs[None]))[0]
    reference = (float(end[0]), float(end[1]))
    return Question(box, EndPointShift(reference), EndPointAgreement(reference), either_way=True)


def view(network: Network, agent: Features, by: str, batch_size: int) -> View:
    """The question what the forecast rests on, by map or by neighbours, on a picture of the map
    crop, heading up, in which the neighbours have their places.

    Raises ValueError where there is nothing that could be masked.
    """
    make = forecast_by_map if by == "map" else forecast_by_neighbours
    seen = agent.neighbour_kind[0] > 0
    if not (seen.any() if by == "neighbours" else agent.map.any()):
        raise ValueError(f"no {by} around the track: its forecast rests on its own past alone")
    crop = network.config.context.crop
    picture = np.repeat(np.repeat(agent.map[0].transpose(1, 2, 0), _ENLARGED, 0), _ENLARGED, 1)
    scale = _ENLARGED / crop.resolution
    places = [
        (round((crop.side - state[1]) * scale), round((crop.ahead - state[0]) * scale))
        for state in agent.neighbours[0, seen, -1].tolist()
    ]
    return View(
        about_forecast(make(network, agent, batch_size)),
        np.ascontiguousarray(picture // 2),  # room for the overlay's colours
        places if by == "neighbours" else None,
    )


def end_in_map(question: Question, tracks: Tracks, track: str) -> NDArray[np.float64]:
    """The explained end point (x, y) m in the frame of the tracks."""
    present = track_states(tracks)[np.flatnonzero(tracks.id == track)[0], -1]
    assert isinstance(question.target, EndPointShift)
    ahead: NDArray[np.float64] = rotation_into(present[6]).T @ question.target.reference
    return ahead + present[:2]


@torch.inference_mode()
def _forecast(
    network: Network, agent: Features, **changed: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and probabilities for the agent with some of its features changed, n times."""
    count = len(next(iter(changed.values())))
    same = {name: torch.from_numpy(column) for name, column in vars(agent).items()}
    repeated = {name: column.expand(count, *column.shape[1:]) for name, column in same.items()}
    batch = Batch(**{**repeated, **changed})
    code = network.encode(batch)
    return network.decode(code, batch).mean, network.prior_logits(code).softmax(-1)
