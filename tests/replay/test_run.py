"""Bags through the real depth node, by the command a user types."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("rclpy", reason="rclpy is not installed")
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from ros_xai.cli import app
from ros_xai.replay.bag import Bag
from ros_xai.world.bag_messages import typestore
from ros_xai.world.bag_writer import BagWriter


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """`ros_xai ...`, results going to the folder `out`."""

    def call(*arguments: Any, out: str | None = "out") -> Result:
        options = [] if out is None else ["--out", str(tmp_path / out)]
        return CliRunner().invoke(app, [*map(str, arguments), *options])

    return call


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def test_lockstep_answers_every_frame_and_repeats_to_the_byte(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    first = run("replay", drive, "--lockstep", out="a")
    second = run("replay", drive, "--lockstep", out="b")
    assert first.exit_code == second.exit_code == 0, first.output
    assert (tmp_path / "a/metrics.json").read_bytes() == (tmp_path / "b/metrics.json").read_bytes()
    figures = metrics(tmp_path / "a")
    assert (figures["frames_in"], figures["frames_out"]) == (10, 10)
    assert figures["latency_ms.p50"] == figures["latency_ms.p99"] == 0
    assert figures["depth.coverage"] == 1
    assert 0 <= figures["depth.abs_rel"] < 1
    assert figures["depth.range.10-20.abs_rel"] == figures["depth.abs_rel"]  # the wall is at 10 m
    assert not any(name.startswith(("drops.", "lost.")) for name in figures)
    assert "abs_rel" in first.output
    assert "report.html" in first.output


def test_outputs_are_a_bag_with_the_stamps_of_the_images(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    assert run("replay", drive, "--lockstep").exit_code == 0
    with Reader(tmp_path / "out/outputs.mcap") as reader:
        depths = [
            typestore().deserialize_cdr(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == "/depth/image"
        ]
    images = [
        Bag(drive).decode(record).header.stamp
        for record in Bag(drive).records()
        if record.topic == "/camera/image"
    ]
    assert [depth.header.stamp for depth in depths] == images
    assert {(d.encoding, d.height, d.width) for d in depths} == {("32FC1", 64, 96)}
    assert all(np.isfinite(depth.data.view(np.float32)).all() for depth in depths)


def test_report_is_rebuilt_from_the_folder_and_without_the_bag_it_stays(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    assert run("replay", drive, "--lockstep").exit_code == 0
    folder = tmp_path / "out"
    before = (folder / "metrics.json").read_bytes()
    (folder / "report.html").unlink()
    assert run("report", folder, out=None).exit_code == 0
    assert (folder / "metrics.json").read_bytes() == before
    assert (folder / "report.html").read_text().count("data:image/jpeg") > 10

    moved = drive.rename(tmp_path / "moved.mcap")
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for options in ([], ["--bag", tmp_path / "nowhere.mcap"]):
        refused = run("report", folder, *options, out=None)
        assert refused.exit_code == 1
        assert f"no bag at {options[-1] if options else drive}" in refused.output
        assert "give its place with --bag" in refused.output
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    assert run("report", folder, "--bag", moved, out=None).exit_code == 0
    assert (folder / "metrics.json").read_bytes() == before


def test_sqlite_bags_with_compressed_images_are_taken_too(
    tmp_path: Path, drive: Path, run: Callable[..., Result]
) -> None:
    folder = tmp_path / "rosbag2"
    store = typestore()
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections: dict[str, Any] = {}
        for record in Bag(drive).records():
            topic, kind, data = record.topic, record.type, record.data
            if topic == "/camera/image":
                message = store.deserialize_cdr(data, kind)
                pixels = message.data.reshape(64, 96, 3)[..., ::-1]
                topic, kind = "/camera/image/compressed", "sensor_msgs/msg/CompressedImage"
                jpeg = cv2.imencode(".jpg", pixels)[1].reshape(-1)
                compressed = store.types[kind](header=message.header, format="jpeg", data=jpeg)
                data = store.serialize_cdr(compressed, kind)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], record.log_ns, data)
    result = run("replay", folder, "--lockstep")
    assert result.exit_code == 0, result.output
    assert metrics(tmp_path / "out")["frames_out"] == 10
    ran = json.loads((tmp_path / "out/run.json").read_text())
    assert ran["topics"]["image/compressed"] == "/camera/image/compressed"
    assert ran["roles"]["image"] == "/camera/image/compressed"
    assert ran["roles"]["lens"] == "/camera/camera_info"  # by which truth is rectified


def test_real_time_accounts_for_every_frame(
    drive: Path, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    assert run("replay", drive, "--rate", "2").exit_code == 0
    figures = metrics(tmp_path / "out")
    dropped = sum(count for name, count in figures.items() if name.startswith("drops.image."))
    unheard = figures.get("lost./camera/image", 0)
    pending = figures["frames_pending"]
    assert figures["frames_in"] == 10 == figures["frames_out"] + dropped + unheard + pending
    assert figures["latency_ms.p50"] > 0


def test_bad_messages_are_counted_and_the_rest_is_answered(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """Frame 3 is cut off, 5 comes twice, 7 comes after 8; 20 s later comes a lone cloud."""
    records = list(Bag(drive).records())
    pictures = [r for r in records if r.topic == "/camera/image"]
    path = tmp_path / "bad.mcap"
    with BagWriter(path) as bag:
        for record in records:
            data, log_ns = record.data, record.log_ns
            if record is pictures[3]:
                data = data[:500]
            if record is pictures[7]:
                log_ns += 120_000_000
            bag.cdr(record.topic, record.type, data, log_ns)
            if record is pictures[5]:
                bag.cdr(record.topic, record.type, data, log_ns + 1)
        bag.cdr("/lidar/points", pictures[0].type.replace("Image", "PointCloud2"), b"", 1)
    result = run("replay", path, "--lockstep")
    assert result.exit_code == 0, result.output
    figures = metrics(tmp_path / "out")
    assert figures["frames_in"] == 11
    assert figures["frames_out"] == 8
    assert figures["drops.image.truncated_cdr"] == 1
    assert figures["drops.image.duplicate"] == 1
    assert figures["drops.image.out_of_order"] == 1
    ran = json.loads((tmp_path / "out/run.json").read_text())
    camera = next(t for t in ran["bag"]["topics"] if t["topic"] == "/camera/image")
    assert (camera["corrupt"], camera["duplicate"], camera["out_of_order"]) == (1, 1, 1)
    page = (tmp_path / "out/report.html").read_text()
    assert "1 corrupt, 1 duplicate, 1 out of order" in page
    assert "image.truncated_cdr" in page


def test_a_bag_without_ground_truth_or_lidar_is_shown_and_not_judged(
    bag_of: Any, tmp_path: Path, run: Callable[..., Result]
) -> None:
    def write(bag: BagWriter) -> None:
        for index in range(20):
            stamp = 10**18 + index * 10**8
            bag.camera_info(
                "/cam/camera_info", stamp, "cam", [[60, 0, 47], [0, 60, 31], [0, 0, 1]], 96, 64
            )
            bag.image("/cam/image", stamp, "cam", np.full((64, 96, 3), 90, np.uint8), "rgb8")

    result = run("replay", bag_of(write), "--lockstep")
    assert result.exit_code == 0, result.output
    figures = metrics(tmp_path / "out")
    assert figures["frames_in"] == 20
    assert figures["frames_out"] >= 10  # once it is clear that no LiDAR will come
    assert not any(name.startswith("depth.") for name in figures)
    page = (tmp_path / "out/report.html").read_text()
    assert "no ground truth" in page


def test_configuration_reaches_the_nodes_and_the_report(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    config = tmp_path / "my.yaml"
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    numbers = [float(number) for number in T.ravel()]
    config.write_text(f"depth:\n  ros__parameters: {{rings: [1, 2], T_camera_lidar: {numbers}}}\n")
    assert run("replay", drive, "--lockstep", "--config", config).exit_code == 0
    ran = json.loads((tmp_path / "out/run.json").read_text())
    assert ran["parameters"]["depth"]["rings"] == [1, 2]
    assert ran["T_camera_lidar"] == numbers
    assert "rings: [1, 2]" in (tmp_path / "out/report.html").read_text()


def test_the_shipped_configuration_leaves_the_transform_to_the_bag(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    config = Path(__file__).parents[2] / "config" / "perception.yaml"
    assert run("replay", drive, "--lockstep", out="plain").exit_code == 0
    assert run("replay", drive, "--lockstep", "--config", config, out="shipped").exit_code == 0
    assert metrics(tmp_path / "plain") == metrics(tmp_path / "shipped")


def test_a_node_that_cannot_start_fails_the_command(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    config = tmp_path / "my.yaml"
    config.write_text("depth:\n  ros__parameters:\n    weights: /nowhere.safetensors\n")
    result = run("replay", drive, "--lockstep", "--config", config)
    assert result.exit_code == 1
    assert "no frame was answered" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.mcap"], 1, "no bag at nowhere.mcap"),
        (["{drive}", "--nodes", "dept"], 2, "expected some of depth"),
        (["{drive}", "--nodes", ""], 2, "expected some of depth"),
        (["{drive}", "--remap", "image=/camera/image"], 2, "expected INPUT:=/TOPIC"),
        (["{drive}", "--remap", "image:=/camera/picture"], 2, "no /camera/picture"),
        (["{drive}", "--lockstep", "--rate", "2"], 2, "lock-step has no rate"),
        (["{drive}", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    drive: Path, run: Callable[..., Result], arguments: list[str], code: int, message: str
) -> None:
    result = run("replay", *(a.replace("{drive}", str(drive)) for a in arguments))
    assert result.exit_code == code
    plain = re.sub(r"[│\s]+", " ", result.output)  # typer draws boxes around usage errors
    assert message in plain


def test_a_bag_without_an_input_of_the_nodes_fails_the_command(
    drive: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    path = tmp_path / "lidar.mcap"
    with BagWriter(path) as bag:
        for record in Bag(drive).records():
            if record.topic == "/lidar/points":
                bag.cdr(record.topic, record.type, record.data, record.log_ns)
    result = run("replay", path, "--lockstep")
    assert result.exit_code == 1
    assert metrics(tmp_path / "out")["frames_in"] == 0
    assert "no frame was answered; the bag holds no input" in result.output


def test_a_folder_without_results_is_refused(tmp_path: Path, run: Callable[..., Result]) -> None:
    result = run("report", tmp_path, out=None)
    assert result.exit_code == 1
    assert "holds no run.json" in result.output


def test_segmentation_is_replayed_beside_depth_judged_and_shown(run, drive, tmp_path):
    from rosbags.highlevel import AnyReader

    labelled = tmp_path / "labelled.mcap"
    with AnyReader([drive]) as reader, BagWriter(labelled) as bag:
        for connection, log_ns, data in reader.messages():
            bag.cdr(connection.topic, connection.msgtype, bytes(data), log_ns)
            if connection.topic == "/camera/image":
                stamp = reader.deserialize(data, connection.msgtype).header.stamp
                road = np.full((64, 96), 3, np.uint8)
                ns = stamp.sec * 10**9 + stamp.nanosec
                bag.image("/gt/labels", ns, "camera_optical", road, "mono8")
    result = run("replay", labelled, "--lockstep", "--nodes", "depth,segmentation")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["frames_out"] == metrics["segmentation.frames_out"] == 10
    # One class occurs: its IoU, the share of road among all that is called or is road.
    assert metrics["segmentation.miou"] == metrics["segmentation.iou.road"]
    assert metrics["segmentation.iou.road"] == metrics["segmentation.pixel_accuracy"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="segmentation"' in page and "Against /gt/labels" in page
    again = run("replay", labelled, "--lockstep", "--nodes", "depth,segmentation", out="again")
    assert again.exit_code == 0, again.output
    names = ("metrics.json", "label_frames.json")
    first, second = ([(tmp_path / d / n).read_bytes() for n in names] for d in ("out", "again"))
    assert first == second
