"""Moments at which a light or a leader decides whether the ego may move on, with the truth.

The lamps of a rendered moment are set, not taken from the traffic: all signal heads show red or
green and all driven cars brake or do not. So what style alone can change decides, and nothing else.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """Moments of seeded drives through a narrow camera, as signals are watched by; each moment is
    rendered twice, with lamps that forbid to move on and with lamps that do not.

    apart: metres the ego moved, or seconds that passed, between any two that are looked at; focal:
    range over the image width; least, most_unseen: pixels of an image of twice the size that
    a lamp must cover to count as seen, and may cover to count as not seen; between, it is never
    lit, so that the truth is not in doubt. no_signal: most moments of a drive without a signal.
    """

    drives: int = 36
    moments: int = 24
    no_signal: int = 12
    seconds: float = 60.0
    every: int = 4  # steps of 0.1 s between the moments that may be looked at
    apart: tuple[float, float] = (3.0, 6.0)
    height: int = 64
    width: int = 128
    focal: tuple[float, float] = (1.6, 3.0)
    seed: int = 300
    least: int = 12
    most_unseen: int = 1
    networks: tuple[str, ...] = ("town", "grid")
    domains: tuple[str, ...] = ("clear", "overcast", "dusk")


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


def lit_lamps(
    seen: dict[str, bool | None], rng: np.random.Generator
) -> tuple[dict[str, bool], dict[str, bool]]:
    """Which causes are lit where they forbid to move on, and where they do not: of those that are
    seen one, or both; what is not seen may be lit in either case, and what is in doubt in none."""
    visible = [name for name, there in seen.items() if there]
    others = {
        name: there is False and bool(rng.random() < 0.5)
        for name, there in seen.items()
        if not there
    }
    chosen = int(rng.integers(2 ** len(visible) - 1)) + 1  # a bit per cause, at least one
    stop = {name: bool(chosen >> i & 1) for i, name in enumerate(visible)}
    return {**stop, **others}, {**dict.fromkeys(visible, False), **others}


def _alike(run: Drive, step: int, other: int, apart: tuple[float, float]) -> bool:
    """Whether two moments show nearly the same."""
    moved = np.linalg.norm(np.subtract(*run.T_world_base[[step, other], :2, 3]))
    return bool(moved < apart[0] and abs(step - other) < 10 * apart[1])


def render_drive(config: SceneConfig, k: int) -> dict[str, NDArray[Any]]:
    """The moments of drive `k`, two rows each, the one to stop first: image uint8 [N, H, W, 3],
    label uint8 [N, H, W], and per row bool `sign`, `car` (could be seen), `red`, `brake` (lit and
    seen) and `may_move` (neither)."""
    rng = np.random.default_rng([config.seed, 20, k])
    run = drive(
        config.seed * 100_003 + k, config.seconds, config.networks[k % len(config.networks)]
    )
    look = varied(domain(config.domains[k % len(config.domains)]), rng)
    camera = Camera(
        width=config.width,
        height=config.height,
        focal=float(rng.uniform(*config.focal)),
        mount_z=float(rng.uniform(1.3, 1.8)),
        pitch=float(rng.uniform(-2.5, 0.0)),
        horizon=0.5,
    )
    finer = replace(camera, width=2 * config.width, height=2 * config.height)
    exposures = run.exposures(camera, look)
    rows: list[dict[str, Any]] = []
    looked: list[int] = []
    for step in rng.permutation(np.arange(0, run.steps, config.every)).tolist():
        if any(_alike(run, step, other, config.apart) for other in looked):
            continue
        looked.append(step)
        surfaces = run.surfaces(step)
        T = run.T_world_base[step] @ camera.T_base_camera
        seen = causes_of(seen_lamps(surfaces, finer, T), run, config)
        without = sum(not row["sign"] for row in rows) // 2
        if not any(seen.values()) or (not seen["sign"] and without == config.no_signal):
            continue
        for lit in lit_lamps(seen, rng):
            image, frame = image_with(
                run, step, camera, look, exposures[step], lit["sign"], lit["car"], surfaces
            )
            there = {name: bool(value) for name, value in seen.items()}
            red, brake = (there[cause] and lit[cause] for cause in CAUSES.values())
            truth = {"red": red, "brake": brake, "may_move": not (red or brake)}
            rows.append({"image": image, "label": frame.label, **there, **truth, "step": step})
        if len(rows) == 2 * config.moments:
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
        part = path.with_name(f"{path.name}.{os.getpid()}.part")  # several may write the same
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
