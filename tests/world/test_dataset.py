"""Datasets: their arrays agree with each other, resume, repeat, and are found by their hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from ros_xai.core.camera import project
from ros_xai.core.geometry import transform
from ros_xai.world import dataset
from ros_xai.world.dataset import PRESETS, DatasetConfig, default_folder, write_dataset

SMALL = DatasetConfig(sequences=1, frames=3, stride=2, width=96, height=48, networks=("tee",))


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(SMALL, tmp_path_factory.mktemp("depth"), jobs=1)


def test_depth_sequences_hold_what_readers_expect(depth_folder: Path) -> None:
    with np.load(depth_folder / "sequence_0000.npz") as data:
        arrays = dict(data)
    expected = {
        "image": ((3, 48, 96, 3), np.uint8),
        "depth": ((3, 48, 96), np.float32),
        "label": ((3, 48, 96), np.uint8),
        "instance": ((3, 48, 96), np.uint16),
        "intrinsics": ((3, 3), np.float64),
        "T_world_camera": ((3, 4, 4), np.float64),
        "T_camera_lidar": ((4, 4), np.float64),
        "time": ((3,), np.float64),
        "ego_velocity": ((3, 2), np.float32),
        "lidar_offsets": ((4,), np.int64),
    }
    for name, (shape, kind) in expected.items():
        assert arrays[name].shape == shape and arrays[name].dtype == kind, name
    assert np.allclose(arrays["time"], [0, 0.2, 0.4])
    assert arrays["lidar_xyz"].shape == (arrays["lidar_offsets"][-1], 3)
    assert arrays["lidar_ring"].dtype == np.uint8 and arrays["lidar_ring"].max() == 63
    assert arrays["instance_velocity"].shape == (3, len(arrays["instance_ids"]), 2)
    seen = np.unique(arrays["instance"])
    assert set(seen[seen > 0]) == set(arrays["instance_ids"])


def test_lidar_points_project_onto_their_depth(depth_folder: Path) -> None:
    with np.load(depth_folder / "sequence_0000.npz") as data:
        xyz = data["lidar_xyz"][: data["lidar_offsets"][1]].astype(float)
        points = transform(data["T_camera_lidar"], xyz)
        uv = np.round(project(points[points[:, 2] > 1], data["intrinsics"])).astype(int)
        z = points[points[:, 2] > 1, 2]
        inside = (uv >= 0).all(1) & (uv[:, 0] < 96) & (uv[:, 1] < 48)
        assert inside.mean() > 0.3
        depth = data["depth"][0][uv[inside, 1], uv[inside, 0]]
        assert np.median(np.abs(depth - z[inside]) / z[inside]) < 0.03


def test_the_camera_moves_with_the_ego_velocity(depth_folder: Path) -> None:
    with np.load(depth_folder / "sequence_0000.npz") as data:
        moved = np.diff(data["T_world_camera"][:, :2, 3], axis=0) / 0.2
        mean = (data["ego_velocity"][1:] + data["ego_velocity"][:-1]) / 2
        assert np.allclose(moved, mean, atol=0.5)


def test_the_index_says_what_is_there(depth_folder: Path) -> None:
    index = json.loads((depth_folder / "index.json").read_text())
    assert index["hash"] == SMALL.content_hash() and index["frames"] == 3


def test_writing_resumes_and_repeats_to_the_byte(depth_folder: Path) -> None:
    before = digest(depth_folder)
    kept = (depth_folder / "sequence_0000.npz").stat().st_mtime_ns
    steps: list[tuple[int, int]] = []
    write_dataset(SMALL, depth_folder, jobs=1, progress=lambda *s: steps.append(s))
    assert (depth_folder / "sequence_0000.npz").stat().st_mtime_ns == kept
    assert steps == [(1, 1)]
    (depth_folder / "sequence_0000.npz").unlink()
    write_dataset(SMALL, depth_folder, jobs=2)  # in another process
    assert digest(depth_folder) == before


def test_two_that_write_the_same_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savez, processes = np.savez, iter(range(1, 100))
    monkeypatch.setattr(dataset.os, "getpid", lambda: next(processes))
    monkeypatch.setattr(dataset, "drive", lambda *a: None)
    monkeypatch.setattr(dataset, "sequence_arrays", lambda *a: {"label": np.arange(1000)})

    def meanwhile(file: BinaryIO, **arrays: np.ndarray) -> None:
        monkeypatch.setattr(np, "savez", savez)
        write_dataset(SMALL, tmp_path, jobs=1)
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", meanwhile)
    write_dataset(SMALL, tmp_path, jobs=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.json", "sequence_0000.npz"]
    with np.load(tmp_path / "sequence_0000.npz") as data:
        assert np.array_equal(data["label"], np.arange(1000))


def test_a_run_killed_while_it_wrote_leaves_no_half_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(SMALL, tmp_path, jobs=1)
    assert not (tmp_path / "index.json").exists()


def test_a_folder_of_another_dataset_is_left_alone(depth_folder: Path) -> None:
    before = digest(depth_folder)
    with pytest.raises(ValueError, match="choose another folder"):
        write_dataset(replace(SMALL, frames=4), depth_folder, jobs=1)
    assert digest(depth_folder) == before


def test_the_hash_follows_every_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changes = [replace(SMALL, seed=1), replace(SMALL, domains=("fog",)), replace(SMALL, beams=4)]
    hashes = {c.content_hash() for c in [SMALL, *changes]}
    assert len(hashes) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = default_folder(SMALL)
    assert folder.parent == tmp_path / "ros_xai" / "world"
    assert folder.name == f"depth-{SMALL.content_hash()}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sound"}, "expected a dataset of"),
        ({"domains": ("clear", "snow")}, r"\['snow'\]"),
        ({"networks": ("nowhere",)}, r"\['nowhere'\]"),
        ({"camera": "z"}, "expected a camera of"),
        ({"width": 0}, "width: expected at least 1; got 0"),
        ({"sequences": -1}, "sequences: expected at least 1"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)  # type: ignore[arg-type]


def test_layouts_hold_labels_without_images(tmp_path: Path) -> None:
    config = replace(SMALL, kind="layouts", frames=2)
    with np.load(write_dataset(config, tmp_path, jobs=1) / "sequence_0000.npz") as data:
        assert "image" not in data and "lidar_xyz" not in data
        assert len(np.unique(data["label"])) >= 4


def test_forecasting_holds_tracks_and_maps(tmp_path: Path) -> None:
    config = DatasetConfig(kind="forecasting", sequences=1, frames=100, networks=("tee",))
    folder = write_dataset(config, tmp_path, jobs=1)
    record = json.loads((folder / "map_0000.json").read_text())
    assert record["lanes"] and record["drivable"] and record["crossings"]
    with np.load(folder / "traffic_0000.npz") as data:
        agents = len(data["id"])
        assert data["time"].shape == (101,)
        assert data["xy"].shape == (101, agents, 2) and data["xy"].dtype == np.float32
        for name in ("yaw", "speed"):
            assert data[name].shape == (101, agents) and data[name].dtype == np.float32
        assert data["size"].shape == (agents, 2)
        assert {"car", "pedestrian"} <= set(data["category"])


def test_presets_are_valid() -> None:
    for kind, preset in PRESETS.items():
        DatasetConfig(**{"kind": kind, **preset})
