"""The recipe of the shipped forecaster: simulated traffic alone, on street plans in turn.

The tracks get the noise of a tracker. CAB's objective, for a forecast that ignores its context is
what the node is there to avoid.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from ros_xai.data.forecasting import read_world, world_recordings
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.forecasting.network import Network, NetworkConfig
from ros_xai.forecasting.objectives import Weights
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import Windows, concatenate, windows, with_tracking_noise
from ros_xai.training.checkpoint import write_atomic
from ros_xai.training.distributed import Process
from ros_xai.training.forecasting import TrainingConfig, new_network, train
from ros_xai.training.loop import ALONE
from ros_xai.world.dataset import WORLD_VERSION, traffic_arrays
from ros_xai.world.network import NETWORKS
from ros_xai.world.network import NetworkConfig as StreetConfig
from ros_xai.world.traffic import simulate

STREETS = (
    *NETWORKS.values(),
    StreetConfig(two_lane=1.0, block=200.0, curved=0.3, roundabouts=0),
    StreetConfig(columns=4, rows=3, two_lane=0.7, block=300.0, curved=0.4, roundabouts=0),
)
LIMIT_BYTES = 4_000_000


@dataclass(frozen=True)
class ShippedConfig:
    """What made the weights in ros_xai/weights/forecasting.safetensors.

    Short: what is learned later of simulated traffic holds less and less on real roads
    (docs/methods/cab.md).
    """

    recordings: int = 4
    seconds: float = 40.0
    windows_per_recording: int = 1500
    objective: str = "cab"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=250, weights=Weights(kl=10.0, divergence=0.5))
    )


def simulate_traffic(
    folder: Path, count: int, streets: tuple[StreetConfig, ...], seconds: float
) -> None:
    """Write what is missing of `count` traffic files, on street plans that take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        target = folder / f"traffic_{k:04d}.npz"
        if target.exists():
            continue
        traffic = simulate(k, seconds, streets[k % len(streets)])
        (folder / f"map_{k:04d}.json").write_text(json.dumps(traffic.road_map.as_record()))
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **traffic_arrays(traffic))
        part.replace(target)


def training_windows(folder: Path, config: ShippedConfig, rng: Generator) -> Windows:
    """A random draw from every recording of the folder."""
    drawn = []
    for path in world_recordings(folder)[: config.recordings]:
        recording = with_tracking_noise(read_world(path), rng)
        part = windows(recording, rasterize(recording.map), config.network.context)
        chosen = rng.permutation(np.flatnonzero(part.scored))[: config.windows_per_recording]
        drawn.append(part[chosen])
    return concatenate(drawn)


def make(
    folder: Path,
    config: ShippedConfig,
    seed: int,
    process: Process = ALONE,
    show: bool = True,
) -> Network:
    """Simulates, trains, and returns the network; all of it resumes in `folder`."""
    with process.in_turn():
        simulate_traffic(folder / "traffic", config.recordings, STREETS, config.seconds)
    data = training_windows(folder / "traffic", config, np.random.default_rng(seed))
    network = new_network(config.network, seed)
    run = folder / "run"
    return train(network, data, config.objective, config.training, seed, run, process, show)


def last_losses(folder: Path) -> dict[str, float]:
    """What `make` logged last in that folder."""
    line = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[-1])
    return {name: round(value, 4) for name, value in line.items()}


def save(network: Network, path: Path, config: ShippedConfig, **card: Any) -> None:
    """NAME.safetensors, and NAME.json with what made it and what `card` adds.

    Raises ValueError when the weights are larger than what may ship.
    """
    Forecaster(network).save(path)
    if path.stat().st_size >= LIMIT_BYTES:
        raise ValueError(f"expected weights below {LIMIT_BYTES} bytes; got {path.stat().st_size}")
    document = {
        "licence": "Apache-2.0",
        "parameters": sum(p.numel() for p in network.parameters()),
        "world_version": WORLD_VERSION,
        **card,
        "recipe": asdict(config),
    }
    write_atomic(path.with_suffix(".json"), (json.dumps(document, indent=1) + "\n").encode())
