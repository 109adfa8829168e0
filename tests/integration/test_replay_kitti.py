"""The main job on a real drive: KITTI with four beams in, judged depth out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.replay.bag import Bag


@pytest.fixture
def kitti_bag(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "kitti.mcap"
    result = CliRunner().invoke(app, ["bag", "from-kitti", str(data_dir / "kitti"), str(path)])
    assert result.exit_code == 0, result.output
    return path


def test_every_frame_of_the_clip_is_answered_and_the_figures_repeat(
    kitti_bag: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    assert {topic.name for topic in Bag(kitti_bag).topics.values()} == {
        "/tf_static",
        "/camera/camera_info",
        "/camera/image",
        "/lidar/points",
        "/gt/points",
    }
    for name in ("first", "second"):
        out = str(tmp_path / name)
        result = CliRunner().invoke(app, ["replay", str(kitti_bag), "--lockstep", "--out", out])
        assert result.exit_code == 0, result.output
    first, second = ((tmp_path / n / "metrics.json").read_bytes() for n in ("first", "second"))
    assert first == second
    metrics = json.loads(first)
    assert metrics["frames_in"] == metrics["frames_out"] == 60
    assert metrics["depth.coverage"] == 1
    assert metrics["depth.unseen.abs_rel"] < 0.3
    assert metrics["depth.a1"] < metrics["depth.a2"] < metrics["depth.a3"]
    keys = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")
    assert {f"depth.{key}" for key in keys} | {"latency_ms.p50", "latency_ms.p99"} <= set(metrics)
    frames = json.loads((tmp_path / "first/frames.json").read_text())
    assert len(frames) == 60
    # The figure of the run is the mean over its frames.
    mean = sum(frame["figures"]["abs_rel"] for frame in frames) / 60
    assert metrics["depth.abs_rel"] == pytest.approx(mean, rel=1e-4)
