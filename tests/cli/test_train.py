"""`ros_xai train depth`: refusals, and a whole adaptation from a bag to weights that load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ros_xai.cli.train import app
from ros_xai.depth.estimator import DepthEstimator, load_network

run = CliRunner().invoke


def test_exactly_one_source_is_needed(tmp_path):
    assert run(app, ["depth"]).exit_code == 2
    both = ["depth", "--bag", str(tmp_path), "--world", str(tmp_path)]
    assert run(app, both).exit_code == 2


@pytest.mark.parametrize("option", ["--bag", "--kitti", "--world"])
def test_a_missing_source_is_named(tmp_path, option):
    result = run(app, ["depth", option, str(tmp_path / "nothing")])
    assert result.exit_code == 1
    assert "nothing" in result.output


@pytest.mark.parametrize(
    "option", [("--steps", "0"), ("--steps", "-3"), ("--seed", "-1"), ("--beams", "0")]
)
def test_numbers_out_of_range_are_refused_by_name(tmp_path, option):
    result = run(app, ["depth", "--world", str(tmp_path), *option])
    assert result.exit_code == 2
    assert option[0] in result.output


def clip_of(frames: int, data_dir: Path, folder: Path) -> Path:
    """The first frames of the KITTI clip."""
    for kind, ending in (("image", "jpg"), ("lidar", "npz")):
        (folder / kind).mkdir(parents=True)
        for frame in range(frames):
            shutil.copy(data_dir / "kitti" / kind / f"{frame:06d}.{ending}", folder / kind)
    shutil.copy(data_dir / "kitti" / "calibration.json", folder)
    return folder


def test_a_short_clip_says_how_many_frames_it_has(data_dir: Path, tmp_path):
    clip = clip_of(4, data_dir, tmp_path / "clip")
    result = run(app, ["depth", "--kitti", str(clip), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "got 4 frames" in result.output


def test_weights_adapted_to_the_real_clip_load_and_are_reported(data_dir: Path, tmp_path):
    clip, out = clip_of(20, data_dir, tmp_path / "clip"), tmp_path / "out"
    result = run(app, ["depth", "--kitti", str(clip), "--out", str(out), "--steps", "2"])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["frames"] == 20
    assert report["gap"] >= 2
    assert report["usable_motions"] > 0.7
    assert report["steps"] == 2
    assert 0 < report["after"]["abs_rel"] < report["before"]["abs_rel"] < 0.4
    assert "before" in result.output
    adapted = load_network(out / "depth.safetensors")
    assert DepthEstimator.load(out / "depth.safetensors").max_pixels == 640 * 192
    assert sum(p.numel() for p in adapted.parameters()) < 3e6
