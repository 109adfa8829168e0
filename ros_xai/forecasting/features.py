"""What the network sees of an agent: its past, its neighbours and the map, in the agent's frame.

The agent's frame has its origin at the present position and x along the present heading. The same
function prepares training windows and the node's input.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ros_xai.data.forecasting import FINE, PEDESTRIAN, STEP, Tracks
from ros_xai.forecasting.kinematics import causal_states, latest_motion, wrap
from ros_xai.forecasting.raster import CropConfig, MapRaster, crops

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ContextConfig:
    """How far an agent looks. Radii in metres are those of CAB for vehicles."""

    neighbours: int = 8
    vehicle_radius: float = 30.0
    pedestrian_radius: float = 20.0
    crop: CropConfig = field(default_factory=CropConfig)


@dataclass(frozen=True)
class Features:
    """Inputs of N agents.

    history float32 [N,H,8] and neighbours float32 [N,M,H,8]: states of `causal_states` in the
    agent's frame; neighbour_kind int64 [N,M]: 0 none, 1 vehicle or two-wheeler, 2 pedestrian;
    map uint8 [N,3,rows,columns]: `raster.crops`.
    """

    history: NDArray[np.float32]
    neighbours: NDArray[np.float32]
    neighbour_kind: NDArray[np.int64]
    map: NDArray[np.uint8]


def without_context(inputs: Features) -> Features:
    """The same agents with no map and no neighbours."""
    nothing = np.zeros_like
    return replace(inputs, neighbour_kind=nothing(inputs.neighbour_kind), map=nothing(inputs.map))


def extrapolated_past(xy: Array, yaw: Array) -> tuple[Array, Array]:
    """Histories [A,H,2], [A,H] whose unobserved samples (NaN) are filled from the later ones: at
    the constant velocity of the two samples after the gap, or at rest after a single one."""
    xy, yaw = xy.copy(), yaw.copy()
    for t in range(xy.shape[1] - 2, -1, -1):
        after = min(t + 2, xy.shape[1] - 1)
        step = xy[:, after] - xy[:, t + 1]
        missing = np.isnan(xy[:, t, 0])
        xy[missing, t] = (xy[:, t + 1] - step)[missing]
        yaw[missing, t] = yaw[missing, t + 1]
    return xy, yaw


def track_states(tracks: Tracks) -> Array:
    """States [A,H,8] of the tracks in the map frame, from their past alone; the present velocity
    and acceleration from the last second, where all of it was observed."""
    states = causal_states(*extrapolated_past(tracks.xy, tracks.yaw), STEP)
    if tracks.recent is not None:
        motion = np.concatenate(latest_motion(tracks.recent, FINE), axis=-1)
        states[:, -1, 2:6] = np.where(np.isnan(motion), states[:, -1, 2:6], motion)
    return states


def features(
    states: Array,
    category: NDArray[np.str_],
    targets: NDArray[np.intp],
    smoothed: MapRaster,
    config: ContextConfig,
) -> Features:
    """Features of the N `targets` (indices) among A agents with states [A,H,8] in the map frame.

    `smoothed` is the map raster averaged over cells of the crops' resolution.
    """
    present = states[targets, -1]
    nearest, kind = _neighbours(present[:, :2], states[:, -1, :2], targets, category, config)
    neighbours = in_agent_frame(states[nearest], present) * (kind > 0)[..., None, None]
    history = in_agent_frame(states[targets][:, None], present)[:, 0]
    return Features(
        history=history.astype(np.float32),
        neighbours=neighbours.astype(np.float32),
        neighbour_kind=kind,
        map=crops(smoothed, present[:, :2], present[:, 6], config.crop),
    )


def _neighbours(
    xy: Array,
    others: Array,
    targets: NDArray[np.intp],
    category: NDArray[np.str_],
    config: ContextConfig,
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Indices and kinds [N,M] of the nearest others in range, kind 0 where there are fewer."""
    kind = np.where(category == PEDESTRIAN, 2, 1)
    radius = np.where(kind == 2, config.pedestrian_radius, config.vehicle_radius)
    distance = np.linalg.norm(xy[:, None] - others[None], axis=-1)
    distance[distance > radius] = np.inf
    distance[np.arange(len(targets)), targets] = np.inf
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : config.neighbours]
    found = np.isfinite(np.take_along_axis(distance, nearest, axis=1))
    missing = config.neighbours - nearest.shape[1]
    padding = ((0, 0), (0, missing))
    return np.pad(nearest, padding), np.pad(np.where(found, kind[nearest], 0), padding)


def in_agent_frame(states: Array, present: Array) -> Array:
    """States [N,M,H,8] of the map frame seen from the N agents whose states are `present` [N,8]."""
    rotation = rotation_into(present[:, 6])
    vectors = states[..., :6].reshape(*states.shape[:-1], 3, 2).copy()
    vectors[..., 0, :] -= present[:, None, None, :2]
    vectors = np.einsum("nij,nmhvj->nmhvi", rotation, vectors)
    heading = wrap(states[..., 6] - present[:, None, None, 6])
    flat = vectors.reshape(*states.shape[:-1], 6)
    return np.concatenate([flat, heading[..., None], states[..., 7:]], axis=-1)


def rotation_into(yaw: Array) -> Array:
    """Rotations [N,2,2] from the map frame into frames with headings yaw [N]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack([np.stack([c, s], axis=-1), np.stack([-s, c], axis=-1)], axis=-2)
