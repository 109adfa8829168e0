"""Small bags and made-up rows that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("rclpy", reason="rclpy is not installed")

from ros_xai.core.geometry import pose
from ros_xai.fleet.bags import BagFile
from ros_xai.fleet.run import Plan, Summary
from ros_xai.fleet.tables import SCHEMAS, Store, encode
from ros_xai.fleet.tasks import Candidate
from ros_xai.world.bag_writer import BagWriter

START_NS = 1_700_000_000_000_000_000  # 2023-11-14 22:13 UTC
INTRINSICS = np.array([[60.0, 0, 47.5], [0, 60.0, 31.5], [0, 0, 1]])
T_CAMERA_LIDAR = pose([[0, -1, 0], [0, 0, -1], [1, 0, 0]], [0, -0.1, 0])
ROAD, CAR = 3, 8


def write_drive(path: Path, frames: int = 4, wall: float = 10.0, camera: bool = True) -> Path:
    """96x64 images of noise, 10 Hz; a wall `wall` metres ahead, left half car and right half road,
    seen by 4 beams, at 7 m/s."""
    rng = np.random.default_rng(round(wall * 1000))
    y, z = np.meshgrid(np.linspace(-9, 9, 73), np.array([1.0, 0.5, 0.0, -0.5]))
    points = np.stack([np.full(y.size, wall), y.ravel(), z.ravel()], axis=1).astype(np.float32)
    ring = np.repeat(np.arange(4), 73).astype(np.uint16)
    label = np.where(np.arange(96) < 48, CAR, ROAD).astype(np.uint8)[None].repeat(64, 0)
    with BagWriter(path) as bag:
        bag.transforms("/tf_static", START_NS, [("camera", "lidar", T_CAMERA_LIDAR)])
        for index in range(frames):
            stamp = START_NS + index * 10**8
            if camera:
                pixels = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
                bag.camera_info("/camera/camera_info", stamp, "camera", INTRINSICS, 96, 64)
                bag.image("/camera/image", stamp, "camera", pixels, "rgb8")
            bag.points("/lidar/points", stamp, "lidar", points, ring=ring)
            bag.image("/gt/depth", stamp, "camera", np.full((64, 96), wall, np.float32), "32FC1")
            bag.image("/gt/labels", stamp, "camera", label, "mono8")
            speed = ((7.0, 0.0, 0.0), (0.0, 0.0, 0.0))
            bag.odometry("/gt/odometry", stamp, "map", "base_link", np.eye(4), *speed)
    return path


def write_config(path: Path, rings: Sequence[int] = ()) -> Path:
    path.write_text(f"depth: {{ros__parameters: {{rings: {list(rings)}}}}}\n")
    return path


def row(bag: str, config: str, **figures: Any) -> dict[str, Any]:
    """A row of `bags` of an evaluated bag."""
    return {
        "key": f"{bag}-{config}", "bag": bag, "config": config, "bag_sha256": bag,
        "config_sha256": config, "version": "1", "status": "ok", "problems": [],
        "start_s": START_NS / 1e9, "duration_s": 1.0, "frames_in": 10, "frames_out": 10,
        "answered": 1.0, "drops": 0, **figures,
    }  # fmt: skip


MadeUp = Callable[..., tuple[Plan, Store, Summary]]


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    """A finished run of given rows by (bag, config); other tables' rows by the same pairs."""

    def make(
        rows: Mapping[tuple[str, str], dict[str, Any]],
        tags: Mapping[str, dict[str, str]] | None = None,
        **others: Mapping[tuple[str, str], list[dict[str, Any]]],
    ) -> tuple[Plan, Store, Summary]:
        store = Store(tmp_path / "store")
        for (bag, config), figures in rows.items():
            whole = row(bag, config, **figures)
            identity = {name: whole[name] for name in list(whole)[:6]}
            parts = {}
            for table in SCHEMAS:
                given = others.get(table, {}).get((bag, config), [])
                made = [whole] if table == "bags" else [identity | each for each in given]
                parts[table] = encode(table, made)
            store.add(whole["key"], parts)
        bags = list(dict.fromkeys(bag for bag, _ in rows))
        configs = list(dict.fromkeys(config for _, config in rows))
        plan = Plan(
            [BagFile(bag, Path(f"/drives/{bag}.mcap"), (tags or {}).get(bag, {})) for bag in bags],
            [Candidate(c, "x: 1", Path(f"/configs/{c}.yaml"), c) for c in configs],
        )
        keys = {(b, c): f"{b}-{c}" for b in bags for c in configs}
        return plan, store, Summary(keys, {}, {})

    return make
