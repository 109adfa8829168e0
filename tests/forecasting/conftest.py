"""A small town to forecast in: a straight road with a crossing, and cars and people on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.data.forecasting import Recording, VectorMap
from ros_xai.forecasting.raster import MapRaster, rasterize

# The networks here are too small for threads to pay.
torch.set_num_threads(1)


def town(seed: int = 0, agents: int = 12, frames: int = 160) -> Recording:
    """Cars on a road along x, 8 m wide, with small accelerations; every fourth agent walks."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) * 0.1
    speed = rng.uniform(2, 12, agents)
    speed[3::4] = 1.4
    start = rng.uniform(-60, 60, (agents, 2)) * [1, 0.05]
    turn = rng.uniform(-0.05, 0.05, agents)
    yaw = turn * time[:, None] + rng.choice([0, np.pi], agents)
    step = 0.1 * speed[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    return Recording(
        name=f"town {seed}",
        time=time,
        id=np.array([f"agent {a}" for a in range(agents)]),
        category=np.where(np.arange(agents) % 4 == 3, "pedestrian", "vehicle"),
        xy=start + step.cumsum(axis=0),
        yaw=yaw,
        map=VectorMap(
            drivable=(np.array([[-200, -4], [200, -4], [200, 4], [-200, 4.0]]),),
            dividers=(np.array([[-200, 0], [200, 0.0]]),),
            crossings=(np.array([[10, -4], [14, -4], [14, 4], [10, 4.0]]),),
        ),
    )


@pytest.fixture
def recording() -> Recording:
    return town()


@pytest.fixture
def raster(recording: Recording) -> MapRaster:
    return rasterize(recording.map)
