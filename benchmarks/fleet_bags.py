"""The bags of `ros_xai bench fleet`: short ones of many drives, and two lengths of the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.seeded import STATE
from ros_xai.data.kitti import RINGS, KittiClip
from ros_xai.replay.from_kitti import convert
from ros_xai.world.bag import BagConfig, write_bag
from ros_xai.world.camera import CAMERAS
from ros_xai.world.lidar import Lidar, hdl64

FOLDER = STATE / "fleet"
FRAMES = 6  # of each short bag
LONG = 36  # of each long one
DRIVES = 30
DOMAINS = ("clear", "overcast", "dusk", "night", "rain")
SMALL = replace(CAMERAS["a"], width=160, height=48)
FEW_BEAMS = Lidar(elevations=tuple(hdl64()[ring] for ring in sorted(RINGS)))


class Clip:
    """Some frames of a clip, as `convert` takes it."""

    def __init__(self, clip: KittiClip, first: int, frames: int) -> None:
        self._clip, self._first, self._frames = clip, first, frames

    def __len__(self) -> int:
        return self._frames

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clip, name)

    def image(self, index: int) -> Any:
        return self._clip.image(self._first + index)

    def scan(self, index: int) -> Any:
        return self._clip.scan(self._first + index)


def bags() -> Path:
    """The manifest of the short bags, which are written where they are missing."""
    entries = []
    for seed in range(DRIVES):
        look = DOMAINS[seed % len(DOMAINS)]
        path = FOLDER / "bags" / f"world_{seed:02}.mcap"
        if not path.exists():
            config = BagConfig(100 + seed, FRAMES / 10, "town", look, SMALL, FEW_BEAMS)
            write_bag(config, path, jobs=1)
        time_of_day = look if look in ("dusk", "night") else "day"
        tags = {"source": "world", "domain": look, "time of day": time_of_day}
        entries.append({"path": path.name, "tags": tags})
    tags = {"source": "kitti", "domain": "city", "time of day": "day"}
    entries += [{"path": path.name, "tags": tags} for path in pieces()]
    manifest = FOLDER / "bags" / "fleet.yaml"
    manifest.write_text(yaml.safe_dump({"bags": entries}, sort_keys=False))
    return manifest


def pieces() -> list[Path]:
    """The KITTI clip in bags of six frames."""
    clip = kitti()
    paths = [FOLDER / "bags" / f"kitti_{piece}.mcap" for piece in range(len(clip) // FRAMES)]
    for piece, path in enumerate(paths):
        if not path.exists():
            convert(Clip(clip, piece * FRAMES, FRAMES), path)  # type: ignore[arg-type]
    return paths


def long_bags() -> Path:
    """A folder of bags of 6 and of LONG frames at full size."""
    folder = FOLDER / "long"
    for frames in (FRAMES, LONG):
        path = folder / f"kitti_{frames}.mcap"
        if not path.exists():
            convert(Clip(kitti(), 0, frames), path)  # type: ignore[arg-type]
        path = folder / f"world_{frames}.mcap"
        if not path.exists():
            config = BagConfig(100, frames / 10, "town", "clear", CAMERAS["a"], FEW_BEAMS)
            write_bag(config, path, jobs=1)
    return folder


def kitti() -> KittiClip:
    """The clip of ROS_XAI_DATA."""
    return KittiClip(Path(os.environ["ROS_XAI_DATA"]) / "kitti")
