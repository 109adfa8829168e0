"""The demo's bag is made once and kept under what it depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libsumo", reason="the world's traffic needs libsumo")

from ros_xai.replay import demo
from ros_xai.world.bag import BagConfig


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[BagConfig]:
    """The configurations of which a bag was made; the cache is empty at first."""
    configs: list[BagConfig] = []

    def write(config: BagConfig, path: Path, **more: Any) -> None:
        configs.append(config)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"bag")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "write_bag", write)
    return configs


def test_bag_is_made_once(made: list[BagConfig], tmp_path: Path) -> None:
    first = demo.demo_bag(lambda done, total: None)
    assert first == demo.demo_bag(lambda done, total: None)
    assert first.is_relative_to(tmp_path)
    assert len(made) == 1


def test_another_drive_or_another_world_is_another_bag(
    made: list[BagConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {demo._content_hash(demo.CONFIG), demo._content_hash(replace(demo.CONFIG, seed=7))}
    monkeypatch.setattr(demo, "WORLD_VERSION", -1)
    names.add(demo._content_hash(demo.CONFIG))
    assert len(names) == 3


def test_the_demo_has_ten_seconds_and_four_beams() -> None:
    assert demo.CONFIG.frames == 100
    assert len(demo.CONFIG.lidar.elevations) == 4
    assert list(demo.CONFIG.lidar.elevations) == sorted(demo.CONFIG.lidar.elevations, reverse=True)
