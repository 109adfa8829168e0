"""The bag of the demo: ten seconds of the synthetic world with a four-beam LiDAR."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ros_xai.data.kitti import RINGS
from ros_xai.world.bag import BagConfig, write_bag
from ros_xai.world.dataset import WORLD_VERSION
from ros_xai.world.lidar import Lidar, hdl64

# The same four of 64 beams as in the evaluation on KITTI, from the top down.
CONFIG = BagConfig(lidar=Lidar(elevations=tuple(hdl64()[ring] for ring in sorted(RINGS))))


def demo_bag(progress: Callable[[int, int], None], config: BagConfig = CONFIG) -> Path:
    """The path of the bag, made now unless the user's cache has it; `progress` gets (done, all)."""
    path = cache_folder() / f"world-{_content_hash(config)}.mcap"
    if not path.exists():
        write_bag(config, path, jobs=os.cpu_count() or 1, progress=progress)
    return path


def cache_folder() -> Path:
    """Where demo bags are kept: under XDG_CACHE_HOME, or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ros_xai" / "demo"


def _content_hash(config: BagConfig) -> str:
    record = json.dumps({**asdict(config), "version": WORLD_VERSION}, sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()[:16]
