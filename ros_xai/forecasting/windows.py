"""All forecasts that a recording asks for, ready for the network and for scoring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import Recording, Scene
from ros_xai.forecasting.features import (
    ContextConfig,
    Features,
    features,
    rotation_into,
    track_states,
)
from ros_xai.forecasting.raster import MapRaster

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """N forecasts to make, each of one agent at one instant.

    future float32 [N,T,2]: the truth in the agent's frame, NaN where unknown; past [N,H,2] and yaw
    [N] in the map frame; time [N] s; agent [N]: a name unique over recordings; scored [N]: the
    whole future is known and the agent moves.
    """

    features: Features
    future: NDArray[np.float32]
    past: Array
    yaw: Array
    time: Array
    agent: NDArray[np.str_]
    scored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.yaw)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> Windows:
        return _mapped(lambda column: column[index], self)

    def in_map(self, positions: Array) -> Array:
        """Positions [N,...,2] of the agents' frames in the map frame."""
        turned = np.einsum("nji,n...j->n...i", rotation_into(self.yaw), positions)
        present = self.past[:, -1]
        return turned + present.reshape(len(present), *[1] * (positions.ndim - 2), 2)


def concatenate(parts: list[Windows]) -> Windows:
    """The windows of several recordings, one after the other."""
    return _mapped(lambda *columns: np.concatenate(columns), *parts)


def _mapped(function: Callable, *records):  # type: ignore[no-untyped-def]
    """A record of the same class whose arrays are `function` of the records' arrays."""
    columns = {}
    for entry in fields(records[0]):
        values = [getattr(record, entry.name) for record in records]
        nested = isinstance(values[0], Features)
        columns[entry.name] = _mapped(function, *values) if nested else function(*values)
    return type(records[0])(**columns)


def causal(scene: Scene) -> Array:
    """States [A,H,8] of a scene's agents from their past."""
    return track_states(scene.tracks)


def windows(
    recording: Recording,
    raster: MapRaster,
    config: ContextConfig,
    first: int = 0,
    states_of: Callable[[Scene], Array] = causal,
) -> Windows:
    """The windows of all agents to forecast whose whole past is known and that move as far as is
    known (`Scene.moving`), every half second from frame `first` on."""
    smoothed = raster.smoothed(config.crop.resolution)
    return concatenate(
        [
            _of_scene(scene, recording.name, smoothed, config, states_of)
            for scene in recording.scenes(first)
        ]
    )


def _of_scene(
    scene: Scene,
    name: str,
    smoothed: MapRaster,
    config: ContextConfig,
    states_of: Callable[[Scene], Array],
) -> Windows:
    tracks = scene.tracks
    observed = np.isfinite(tracks.xy).all(axis=(1, 2))
    targets = np.flatnonzero(observed & scene.forecastable() & scene.moving())
    past, yaw = tracks.xy[targets], tracks.yaw[targets, -1]
    offset = scene.future[targets] - past[:, -1:]
    future = np.einsum("nij,ntj->nti", rotation_into(yaw), offset)
    return Windows(
        features=features(states_of(scene), tracks.category, targets, smoothed, config),
        future=future.astype(np.float32),
        past=past,
        yaw=yaw,
        time=np.full(len(targets), scene.time),
        agent=np.array([f"{name}/{tracks.id[i]}" for i in targets], dtype=str),
        scored=np.isfinite(future).all(axis=(1, 2)),
    )


def with_tracking_noise(
    recording: Recording, rng: np.random.Generator, position: float = 0.05, yaw: float = 0.01
) -> Recording:
    """The recording with white noise on positions (m) and headings (rad), as trackers have it."""
    return replace(
        recording,
        xy=recording.xy + rng.normal(scale=position, size=recording.xy.shape),
        yaw=recording.yaw + rng.normal(scale=yaw, size=recording.yaw.shape),
    )
