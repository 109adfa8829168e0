"""The one class that a node, a notebook and the evaluation use to forecast."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor

from ros_xai.core.config import from_mapping
from ros_xai.data.forecasting import FORECAST, Tracks
from ros_xai.forecasting.attribution import attribution
from ros_xai.forecasting.features import Features, features, rotation_into, track_states
from ros_xai.forecasting.network import BLIND, Batch, Network, NetworkConfig, masked
from ros_xai.forecasting.objectives import categorical_kl
from ros_xai.forecasting.raster import MapRaster

Array = NDArray[np.float64]

SHIPPED = Path(__file__).parents[1] / "weights" / "forecasting.safetensors"


@dataclass(frozen=True)
class Prediction:
    """Forecasts of N agents in their own frames.

    modes [N,K,T,2] m; covariances [N,K,T,2,2] m^2; probabilities [N,K]; divergence [N]: nats by
    which the context changes the choice of the mode, KL[p(z|x) || p(z|x without context)];
    attribution [N,3]: metres due to state, map and neighbours (`attribution.attribution`).
    """

    modes: Array
    covariances: Array
    probabilities: Array
    divergence: Array
    attribution: Array

    def likeliest(self) -> Array:
        """The most probable mode [N,T,2]."""
        return self.modes[np.arange(len(self.modes)), self.probabilities.argmax(axis=1)]


@dataclass(frozen=True)
class Forecast:
    """Forecasts of N agents in the map frame; see `Prediction`.

    ignores_context [N]: the divergence is so small that the same mode would have been chosen
    without map and neighbours.
    """

    id: NDArray[np.str_]
    modes: Array
    covariances: Array
    probabilities: Array
    divergence: Array
    ignores_context: NDArray[np.bool_]
    attribution: Array


def predict(network: Network, inputs: Features, batch: int = 1024) -> Prediction:
    """Forecast the agents of the features, at most `batch` of them at once."""
    tensors = Batch(*(torch.from_numpy(column) for column in vars(inputs).values()))
    parts = [Batch(*part) for part in zip(*(column.split(batch) for column in tensors))]
    columns = zip(*(vars(_predict(network, part)).values() for part in parts))
    return Prediction(*(np.concatenate(column) for column in columns))


@torch.inference_mode()
def _predict(network: Network, batch: Batch) -> Prediction:
    code = network.encode(batch)
    logits, blind = network.prior_logits(code), network.prior_logits(masked(code, BLIND))
    modes = network.decode(code, batch)
    return Prediction(
        modes=_array(modes.mean),
        covariances=_array(modes.covariance),
        probabilities=_array(logits.softmax(dim=-1)),
        divergence=_array(categorical_kl(logits, blind)),
        attribution=_array(attribution(network, code, batch)),
    )


def _array(tensor: Tensor) -> Array:
    return tensor.numpy().astype(np.float64)


class Forecaster:
    """Forecasts the vehicles and two-wheelers among tracks; pedestrians are their context.

    `quiet` is the divergence in nats below which a forecast is said to ignore its context.
    """

    def __init__(self, network: Network, quiet: float = 0.1) -> None:
        self.network, self.quiet = network.eval(), quiet
        self._map: MapRaster | None = None

    @classmethod
    def load(cls, weights: Path | None = None) -> Forecaster:
        """The shipped network, or the one in a file written by `save`.

        Raises FileNotFoundError without the file, ValueError for a file of something else.
        """
        weights = weights or SHIPPED
        try:
            with safe_open(weights, framework="pt") as file:
                record = json.loads((file.metadata() or {})["forecaster"])
            network = Network(from_mapping(NetworkConfig, record["network"]))
            load_model(network, weights)
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise ValueError(f"{weights}: expected weights of a forecaster; got {error}") from error
        return cls(network, record["quiet"])

    def save(self, weights: Path) -> None:
        """Write the weights with what is needed to read them, as safetensors."""
        record = {"network": asdict(self.network.config), "quiet": self.quiet}
        tensors = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(tensors, weights, metadata={"forecaster": json.dumps(record)})

    def __call__(self, tracks: Tracks, raster: MapRaster, at_most: int | None = None) -> Forecast:
        """Forecast the tracks on a map, both in the map frame; `at_most` so many, the first."""
        config = self.network.config.context
        if raster is not self._map:
            self._map, self._smoothed = raster, raster.smoothed(config.crop.resolution)
        targets = np.flatnonzero(np.isin(tracks.category, FORECAST))[:at_most]
        states = track_states(tracks)
        inputs = features(states, tracks.category, targets, self._smoothed, config)
        prediction = predict(self.network, inputs)
        present = states[targets, -1]
        R = rotation_into(present[:, 6]).swapaxes(-1, -2)
        modes = np.einsum("nij,nktj->nkti", R, prediction.modes) + present[:, None, None, :2]
        covariances = np.einsum("nij,nktjl,nml->nktim", R, prediction.covariances, R)
        return Forecast(
            id=tracks.id[targets],
            modes=modes,
            covariances=covariances,
            probabilities=prediction.probabilities,
            divergence=prediction.divergence,
            ignores_context=prediction.divergence < self.quiet,
            attribution=prediction.attribution,
        )
