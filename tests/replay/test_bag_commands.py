"""`ros_xai bag` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("rclpy", reason="rclpy is not installed")

from ros_xai.cli import app
from ros_xai.world.bag_writer import BagWriter


def test_info_lists_topics_and_findings(drive: Path) -> None:
    result = CliRunner().invoke(app, ["bag", "info", str(drive)])
    assert result.exit_code == 0
    assert "/lidar/points" in result.output
    assert "41 messages" in result.output

    as_json = CliRunner().invoke(app, ["bag", "info", str(drive), "--json"])
    found = json.loads(as_json.stdout)
    assert found["messages"] == 41
    image = next(topic for topic in found["topics"] if topic["topic"] == "/camera/image")
    assert (image["messages"], image["missing"], image["corrupt"]) == (10, 0, 0)
    assert image["rate_hz"] == pytest.approx(10)


def test_info_of_a_bag_without_its_end_is_no_failure(drive: Path) -> None:
    content = drive.read_bytes()
    drive.write_bytes(content[:-100])
    result = CliRunner().invoke(app, ["bag", "info", str(drive)])
    assert result.exit_code == 0
    assert "41 messages" in result.output
    assert "damaged: drive.mcap breaks off" in result.output


def test_info_names_what_is_not_played(tmp_path: Path) -> None:
    path = tmp_path / "mixed.mcap"
    with BagWriter(path) as bag:
        bag.image("/image", 1, "camera", np.zeros((2, 2), np.uint8), "mono8")
        notes = bag._writer.register_channel("/notes", "json", 0)
        bag._writer.add_message(notes, 1, b"{}", 1)
    result = CliRunner().invoke(app, ["bag", "info", str(path)])
    assert result.exit_code == 0
    assert "1 messages" in result.output
    assert "not played: /notes: 1 x" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "nowhere.mcap"], 1, "no bag at nowhere.mcap"),
        (["from-kitti", "{kitti}", "no.db3"], 1, "that ends in .mcap; got no.db3"),
        (["from-kitti", "nowhere", "out.mcap"], 1, "nowhere is not a KITTI clip"),
        (["from-kitti", "nowhere", "out.mcap", "--rings", "top"], 2, "56,40,24,8; got top"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    arguments: list[str],
    code: int,
    message: str,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [each.replace("{kitti}", str(data_dir / "kitti")) for each in arguments]
    result = CliRunner().invoke(app, ["bag", *given])
    assert result.exit_code == code
    assert not list(tmp_path.iterdir())
    assert message in " ".join(result.output.split())
