"""Array datasets on disk: seeded, resumable, by several processes, under a content hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np

from ros_xai.core.geometry import invert
from ros_xai.world.camera import CAMERAS, Camera
from ros_xai.world.domains import DOMAINS, domain, varied
from ros_xai.world.drive import Drive, drive
from ros_xai.world.lidar import Lidar, hdl64
from ros_xai.world.network import NETWORKS
from ros_xai.world.traffic import STEP, Traffic, simulate

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

WORLD_VERSION = 10  # raise it whenever the same seed gives other bytes


@dataclass(frozen=True)
class DatasetConfig:
    """What a dataset holds. Sequences take turns through ``networks`` and ``domains``.

    kind: depth (all arrays), segmentation (no LiDAR), layouts (labels only), forecasting (tracks
    and maps). stride is in steps of 0.1 s; vary_camera moves pitch, height and focal length from
    sequence to sequence, vary_light the sun, the clouds and the camera's tuning.
    """

    kind: str = "depth"
    sequences: int = 8
    frames: int = 50
    stride: int = 1
    width: int = 320
    height: int = 96
    seed: int = 0
    networks: tuple[str, ...] = tuple(NETWORKS)
    domains: tuple[str, ...] = ("clear",)
    camera: str = "a"
    vary_camera: bool = False
    vary_light: bool = True
    beams: int = 64

    def __post_init__(self) -> None:
        if self.kind not in PRESETS:
            raise ValueError(f"expected a dataset of {sorted(PRESETS)}, got {self.kind!r}")
        for name, known in ((self.networks, NETWORKS), (self.domains, DOMAINS)):
            unknown = sorted(set(name) - set(known))
            if unknown:
                raise ValueError(f"expected names of {sorted(known)}, got {unknown}")
        if self.camera not in CAMERAS:
            raise ValueError(f"expected a camera of {sorted(CAMERAS)}, got {self.camera!r}")
        for count in ("sequences", "frames", "stride", "width", "height", "beams"):
            if getattr(self, count) < 1:
                raise ValueError(f"{count}: expected at least 1; got {getattr(self, count)}")

    def content_hash(self) -> str:
        """16 hex digits that name this content: configuration and world version."""
        record = json.dumps({**asdict(self), "version": WORLD_VERSION}, sort_keys=True)
        return hashlib.sha256(record.encode()).hexdigest()[:16]


PRESETS: dict[str, dict[str, Any]] = {
    "depth": {},
    "segmentation": {
        "sequences": 40,
        "frames": 12,
        "stride": 12,
        "width": 320,
        "height": 240,
        "domains": ("clear", "overcast", "dusk", "rain", "camera_b"),
        "vary_camera": True,
    },
    "layouts": {
        "sequences": 40,
        "frames": 25,
        "stride": 8,
        "width": 256,
        "height": 128,
        "vary_camera": True,
    },
    "forecasting": {"sequences": 10, "frames": 400},
}


def default_folder(config: DatasetConfig) -> Path:
    """Where a dataset lives when no folder is named: the user's cache, under its content hash."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ros_xai" / "world" / f"{config.kind}-{config.content_hash()}"


def write_dataset(
    config: DatasetConfig,
    folder: Path | None = None,
    jobs: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write what is missing of a dataset and return its folder.

    Raises:
        ValueError: the folder holds another dataset.
    """
    folder = Path(folder) if folder else default_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    record = {**asdict(config), "version": WORLD_VERSION, "hash": config.content_hash()}
    if index.exists():
        found = json.loads(index.read_text()).get("hash")
        if found != record["hash"]:
            raise ValueError(
                f"{folder} holds dataset {found}, not {record['hash']}: choose another folder"
            )
    else:
        _write_whole(index, lambda file: file.write(f"{json.dumps(record, indent=1)}\n".encode()))
    missing = [k for k in range(config.sequences) if not (folder / _name(config, k)).exists()]
    done = config.sequences - len(missing)
    if progress:
        progress(done, config.sequences)
    if jobs <= 1:
        for k in missing:
            _write_one(config, folder, k)
            done += 1
            if progress:
                progress(done, config.sequences)
        return folder
    # spawned, because libsumo and Embree hold process-wide state
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_write_one, config, folder, k) for k in missing]
        for future in as_completed(futures):
            future.result()
            done += 1
            if progress:
                progress(done, config.sequences)
    return folder


def _name(config: DatasetConfig, k: int) -> str:
    return f"{'traffic' if config.kind == 'forecasting' else 'sequence'}_{k:04d}.npz"


def _write_one(config: DatasetConfig, folder: Path, k: int) -> None:
    """Write one sequence."""
    cv2.setNumThreads(1)
    network = config.networks[k % len(config.networks)]
    seed = config.seed * 100_003 + k
    if config.kind == "forecasting":
        traffic = simulate(seed, config.frames * STEP, network)
        record = json.dumps(traffic.road_map.as_record(), separators=(",", ":")).encode()
        _write_whole(folder / f"map_{k:04d}.json", lambda file: file.write(record))
        arrays = traffic_arrays(traffic)
    else:
        seconds = config.frames * config.stride * STEP
        arrays = sequence_arrays(config, drive(seed, seconds, network), k)
    _write_whole(folder / _name(config, k), lambda file: np.savez(file, **arrays))


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Half a file is not taken as done, also when several processes write the same one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        write(file)
    partial.replace(path)


def traffic_arrays(traffic: Traffic) -> dict[str, NDArray[Any]]:
    """Tracks: time [T], id [A], category [A], size [A, 2], xy [T, A, 2], yaw, speed [T, A]."""
    return {
        "time": traffic.time,
        "id": np.arange(len(traffic.category)),
        "category": np.array(traffic.category),
        "size": traffic.size[:, :2],
        "xy": traffic.xy,
        "yaw": traffic.yaw,
        "speed": traffic.speed,
    }


def sequence_camera(config: DatasetConfig, rng: Generator) -> Camera:
    """The camera of one sequence, its mounting varied on demand."""
    base = vars(CAMERAS[config.camera]) | {"width": config.width, "height": config.height}
    if config.vary_camera:
        base |= {
            "focal": float(rng.uniform(0.5, 1.15)),
            "mount_z": float(rng.uniform(1.15, 2.1)),
            "pitch": float(rng.uniform(-1.5, 5.0)),
            "horizon": 0.5,
        }
    return Camera(**base)


def sequence_arrays(config: DatasetConfig, run: Drive, k: int) -> dict[str, NDArray[Any]]:
    """All arrays of one sequence, as the datasets' readers expect them."""
    camera = sequence_camera(config, np.random.default_rng([config.seed, 8, k]))
    look = domain(config.domains[(k // len(config.networks) + k) % len(config.domains)])
    if config.vary_light:
        look = varied(look, np.random.default_rng([config.seed, 10, k]))
    steps = [f * config.stride for f in range(config.frames)]
    fan = hdl64(config.beams)
    lidar = Lidar(fan, field_of_view=2 * np.rad2deg(np.arctan(0.5 / camera.focal)) + 8)
    exposure = [] if config.kind == "layouts" else run.exposures(camera, look, steps[-1])
    images, depths, labels, instances, sweeps = [], [], [], [], []
    for step in steps:
        surfaces = run.surfaces(step)
        frame = run.frame(step, camera, look, surfaces)
        labels.append(frame.label)
        instances.append(frame.instance)
        if config.kind == "layouts":
            continue
        images.append(run.image(frame, step, look, exposure[step]))
        depths.append(frame.depth)
        if config.kind == "depth":
            sweeps.append(run.sweep(step, lidar, surfaces))
    arrays: dict[str, NDArray[Any]] = {"label": np.stack(labels), "instance": np.stack(instances)}
    if images:
        arrays |= {"image": np.stack(images), "depth": np.stack(depths)}
    if sweeps:
        arrays |= {
            "lidar_xyz": np.concatenate([s.xyz for s in sweeps]),
            "lidar_ring": np.concatenate([s.ring for s in sweeps]),
            "lidar_offsets": np.cumsum([0, *(len(s.xyz) for s in sweeps)]).astype(np.int64),
        }
    return arrays | _poses(run, camera, lidar, steps) | _instances(run, steps, instances)


def _poses(run: Drive, camera: Camera, lidar: Lidar, steps: list[int]) -> dict[str, NDArray[Any]]:
    return {
        "intrinsics": camera.intrinsics,
        "T_world_camera": run.T_world_base[steps] @ camera.T_base_camera,
        "T_camera_lidar": invert(camera.T_base_camera) @ lidar.T_base_lidar,
        "time": np.array(steps) * STEP,
        "ego_velocity": np.stack([run.velocity(s) for s in steps]).astype(np.float32),
    }


def _instances(
    run: Drive, steps: list[int], instances: list[NDArray[np.uint16]]
) -> dict[str, NDArray[Any]]:
    """Velocities [N, I, 2] of the instances seen in the sequence, NaN when absent."""
    ids = np.unique(np.concatenate([np.unique(i) for i in instances]))
    ids = ids[ids > 0]
    xy = run.scene.traffic.xy[:, ids].astype(np.float64)
    velocity = np.gradient(xy, STEP, axis=0)[steps] if len(xy) > 1 else np.zeros_like(xy)
    return {
        "instance_ids": ids.astype(np.uint16),
        "instance_velocity": velocity.astype(np.float32),
    }
