"""Moments at which a light or a leader decides whether the ego may move on, with the truth.

The lamps of a rendered moment are set, not taken from the traffic: all signal heads show red or
green and all driven cars brake or do not. So what style alone can change decides, and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ros_xai.world.bodywork import LAMPS
from ros_xai.world.camera import Camera, Frame, lighting, render
from ros_xai.world.domains import Domain, domain, varied
from ros_xai.world.drive import Drive, drive
from ros_xai.world.light import gather
from ros_xai.world.mesh import CAR, SIGN
from ros_xai.world.rays import Surface, cast

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAUSES = {SIGN: "sign", CAR: "car"}  # classes whose style can forbid to move on


@dataclass(frozen=True)
class SceneConfig:
    """Moments of seeded drives, rendered at twice `height` x `width` and averaged down.

    least, most_unseen: pixels of the large image that a lamp must cover to count as seen, and may
    cover to count as not seen; moments between are left out, so that the truth is never in doubt.
    """

    drives: int = 40
    moments: int = 24
    seconds: float = 60.0
    every: int = 4  # steps of 0.1 s between the moments that are looked at
    height: int = 64
    width: int = 128
    seed: int = 300
    least: int = 8
    most_unseen: int = 1
    red: float = 0.4
    brake: float = 0.35
    networks: tuple[str, ...] = ("town", "grid")
    domains: tuple[str, ...] = ("clear", "overcast", "dusk")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


def seen_lamps(
    surfaces: list[Surface], camera: Camera, T: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Number of the lamp under every pixel's centre [H, W], -1 where there is none."""
    directions = camera.rays().reshape(-1, 3) @ T[:3, :3].T.astype(np.float32)
    origins = np.broadcast_to(T[:3, 3].astype(np.float32), directions.shape)
    hits = cast(surfaces, np.ascontiguousarray(origins), np.ascontiguousarray(directions))
    lamps = np.full(len(directions), -1, np.int32)
    hit = hits.face >= 0
    lamps[hit] = gather(surfaces, hits.face[hit], "lamp")
    return lamps.reshape(camera.height, camera.width)


def causes_of(lamps: NDArray[np.int32], run: Drive, config: SceneConfig) -> dict[str, bool | None]:
    """Whether the ego could see a signal ("sign") and tail lamps ("car"); None where in doubt.

    lamps: [H, W] as of `seen_lamps`.
    """
    signals = 3 * len(run.scene.traffic.road_map.signals)
    first = run.scene.street_lamp_index + 1
    red = (lamps >= 0) & (lamps < signals) & (lamps % 3 == 0)
    tail = (lamps >= first) & ((lamps - first) % len(LAMPS) == LAMPS.index("tail"))
    tail &= ~run.scene.traffic.parked[np.maximum(lamps - first, 0) // len(LAMPS)]
    counts = {"sign": int(red.sum()), "car": int(tail.sum())}
    return {
        name: True if n >= config.least else False if n <= config.most_unseen else None
        for name, n in counts.items()
    }


def image_with(
    run: Drive,
    step: int,
    camera: Camera,
    look: Domain,
    exposure: float,
    red: bool,
    brake: bool,
    surfaces: list[Surface],
) -> tuple[NDArray[np.uint8], Frame]:
    """The moment with all signals red or green and all driven cars braking or not."""
    T = run.T_world_base[step] @ camera.T_base_camera
    light = lighting(run.scene, step, look, T)
    power = light.lamps.copy()
    signals = 3 * len(run.scene.traffic.road_map.signals)
    power[:signals].reshape(-1, 3)[:] = (red, 0, not red)
    agents = power[run.scene.street_lamp_index + 1 :].reshape(-1, len(LAMPS))
    driven = ~run.scene.traffic.parked
    agents[:, 1] = np.where(driven, 1.0 if brake else 0.25 * look.dark, 0)
    agents[:, 2:] = 0
    frame = render(surfaces, camera, T, replace(light, lamps=power))
    return run.image(frame, step, look, exposure), frame


def render_drive(config: SceneConfig, k: int) -> dict[str, NDArray[Any]]:
    """The moments of drive `k`: image uint8 [N, H, W, 3], label uint8 [N, H, W], and per moment
    bool `sign`, `car` (could be seen), `red`, `brake` (lit and seen) and `may_move` (neither)."""
    rng = np.random.default_rng([config.seed, 20, k])
    run = drive(
        config.seed * 100_003 + k, config.seconds, config.networks[k % len(config.networks)]
    )
    look = varied(domain(config.domains[k % len(config.domains)]), rng)
    camera = Camera(
        width=2 * config.width,
        height=2 * config.height,
        focal=float(rng.uniform(1.0, 1.5)),
        mount_z=float(rng.uniform(1.3, 1.8)),
        pitch=float(rng.uniform(-4.0, 0.0)),
        horizon=0.5,
    )
    exposures = run.exposures(camera, look)
    rows: list[dict[str, Any]] = []
    for step in rng.permutation(np.arange(0, run.steps, config.every)).tolist():
        surfaces = run.surfaces(step)
        T = run.T_world_base[step] @ camera.T_base_camera
        seen = causes_of(seen_lamps(surfaces, camera, T), run, config)
        if None in seen.values() or not any(seen.values()):
            continue
        lit = {"sign": rng.random() < config.red, "car": rng.random() < config.brake}
        image, frame = image_with(
            run, step, camera, look, exposures[step], lit["sign"], lit["car"], surfaces
        )
        red, brake = (bool(seen[c] and lit[c]) for c in CAUSES.values())
        rows.append(
            {
                "image": cv2.resize(image, config.size[::-1], interpolation=cv2.INTER_AREA),
                "label": frame.label[1::2, 1::2],
                **seen,
                "red": red,
                "brake": brake,
                "may_move": not (red or brake),
                "step": step,
            }
        )
        if len(rows) == config.moments:
            break
    if not rows:
        return {}
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}


def write_scenes(config: SceneConfig, folder: Path, drives: range | None = None) -> Path:
    """Write what is missing as scenes_NNNN.npz, one per drive; a half-written one is done anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in drives or range(config.drives):
        path = folder / f"scenes_{k:04d}.npz"
        if path.exists():
            continue
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **render_drive(config, k))
        part.replace(path)
    return folder


def default_folder(config: SceneConfig) -> Path:
    """Beside the data sets of the world, under the hash of the configuration."""
    import hashlib
    import json

    from ros_xai.world import dataset

    record = json.dumps({**asdict(config), "version": dataset.WORLD_VERSION}, sort_keys=True)
    digest = hashlib.sha256(record.encode()).hexdigest()[:16]
    return dataset.default_folder(dataset.DatasetConfig("layouts")).with_name(f"scenes-{digest}")
