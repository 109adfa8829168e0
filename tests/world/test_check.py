"""The world keeps its promises, and the checks notice when it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ros_xai.cli import world as command
from ros_xai.world import check
from ros_xai.world.bag import BagConfig
from ros_xai.world.camera import CAMERAS, Camera
from ros_xai.world.domains import Domain
from ros_xai.world.drive import Drive
from ros_xai.world.mesh import CAR, CLASSES
from ros_xai.world.preview import PALETTE, contact_sheet

CAMERA = Camera(width=320, height=96)


def test_a_drive_keeps_every_promise(small_drive: Drive) -> None:
    found = check.check(small_drive, CAMERA, Domain(), pairs=3)
    broken = [f"{row.name}: {row.value} > {row.bound}" for row in found if not row.holds]
    assert not broken and len(found) == 12


def test_a_wrong_pose_breaks_reprojection(small_drive: Drive) -> None:
    steps = (20, 23)
    frames = [small_drive.frame(s, CAMERA, Domain()) for s in steps]
    images = [small_drive.image(f, s, Domain(), 1.0) for f, s in zip(frames, steps)]
    right, _ = check.photometric_error(small_drive, CAMERA, *steps, frames, images)
    poses = small_drive.T_world_base.copy()
    poses[23, :3, 3] += poses[23, :3, 1] * 0.5  # half a metre to the left
    shifted = replace(small_drive, T_world_base=poses)
    wrong, _ = check.photometric_error(shifted, CAMERA, *steps, frames, images)
    assert wrong > 1.5 * right


def test_wrong_depth_labels_and_boxes_are_noticed(small_drive: Drive) -> None:
    frame = small_drive.frame(20, CAMERA, Domain())
    assert (frame.instance > 0).sum() > 50
    deeper = replace(frame, depth=frame.depth * 1.03)
    assert check.lidar_error(small_drive, CAMERA, 20, deeper)[0] > 0.1
    label = frame.label.copy()
    label[frame.instance > 0] = CAR - 1
    assert check.label_disagreement(small_drive, replace(frame, label=label)) > 0.002
    far = replace(frame, depth=np.where(frame.instance > 0, frame.depth + 6, frame.depth))
    assert check.outside_boxes(small_drive, CAMERA, 20, far) > 0.5


def test_futures_that_lie_are_noticed(small_drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = check.future

    def lying(run: Drive, step: int) -> dict[str, np.ndarray]:
        told = honest(run, step)
        return {**told, "xyz": told["xyz"] + np.float32(0.3)}

    monkeypatch.setattr(check, "future", lying)
    assert check.future_error(small_drive) == pytest.approx(0.3 * np.sqrt(2), abs=1e-3)


def test_the_command_ends_with_one_on_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, code in ((0.5, 0), (2.0, 1)):
        rows = [check.Invariant("a promise", value, 1.0)]
        monkeypatch.setattr(command, "drive", lambda *a: None)
        monkeypatch.setattr(command, "measure", lambda *a, rows=rows: rows)
        result = CliRunner().invoke(command.app, ["check"])
        assert result.exit_code == code
        assert "a promise" in result.output and ("BROKEN" in result.output) == bool(code)


@pytest.mark.parametrize(
    "arguments",
    [
        ["bag", "x.mcap", "--camera", "z"],
        ["bag", "x.mcap", "--network", "nowhere"],
        ["dataset", "sound"],
        ["dataset", "depth", "--domains", "snow"],
        ["check", "--domain", "snow"],
        ["preview", "sheet.tga"],
    ],
)
def test_wrong_options_are_refused_with_what_was_expected(arguments: list[str]) -> None:
    result = CliRunner().invoke(command.app, arguments)
    assert result.exit_code == 2
    assert "expected" in result.output


def test_a_drive_too_short_to_measure_is_told_so(small_drive: Drive) -> None:
    traffic = small_drive.scene.traffic
    first = {
        n: getattr(traffic, n)[:2] for n in ("time", "xy", "yaw", "speed", "signals", "lights")
    }
    scene = replace(small_drive.scene, traffic=replace(traffic, **first))
    short = replace(small_drive, scene=scene, T_world_base=small_drive.T_world_base[:2])
    with pytest.raises(ValueError, match="more seconds"):
        check.check(short, CAMERA, Domain())


@pytest.mark.parametrize(
    ("arguments", "writer"),
    [(["bag", "file/x.mcap"], "write_bag"), (["dataset", "depth"], "write_dataset")],
)
def test_what_cannot_be_written_is_told_without_a_traceback(
    arguments: list[str], writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotADirectoryError("Not a directory: 'file'")

    monkeypatch.setattr(command, writer, refuse)
    result = CliRunner().invoke(command.app, arguments)
    assert result.exit_code == 2
    assert "Not a directory: 'file'" in result.output


def test_the_contact_sheet_shows_domains_and_truths(small_drive: Drive) -> None:
    sheet = contact_sheet(small_drive, 20, Camera(width=64, height=32))
    assert sheet.shape == (4 * 32, 3 * 64, 3)
    panels = sheet.reshape(4, 32, 3, 64, 3).swapaxes(1, 2).reshape(12, -1)
    assert len({panel.tobytes() for panel in panels}) == 12
    assert len(np.unique(PALETTE, axis=0)) == len(CLASSES)


def test_a_bags_sensors_are_those_of_the_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = []

    def record(config: BagConfig, out: Path, *_: object) -> None:
        told.append(config)
        out.write_bytes(b"")

    monkeypatch.setattr(command, "write_bag", record)
    options = "--distortion -0.3 0.1 0 0.01 --motion-distortion --range-noise 0.05 --drop-out 0.2"
    arguments = ["bag", str(tmp_path / "x.mcap"), "--camera", "b", *options.split()]
    result = CliRunner().invoke(command.app, arguments)
    assert result.exit_code == 0, result.output
    [config] = told
    assert config.camera.distortion == (-0.3, 0.1, 0.0, 0.01)
    assert config.camera.focal == CAMERAS["b"].focal
    lidar = config.lidar
    assert (lidar.motion_distortion, lidar.noise, lidar.drop_out) == (True, 0.05, 0.2)
