"""What `ros_xai train segmentation` refuses, and what it says then."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from ros_xai.training import segmentation as training
from ros_xai.world.bag_writer import BagWriter
from tests.cli.test_train_segmentation import train, write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", ["road", "sky"])


ANOTHER = {
    "supervised": [
        (["--seed", 7], "seed 0 there, 7 asked"),
        (["--source", "other"], "data [0-9a-f]+ there, [0-9a-f]+ asked"),
        (["--height", 64], "data "),
        (["--batch", 2], "batch 4 there, 2 asked"),
        (["--weights", "bundle/segmentation.safetensors"], "start weights "),
        (["--method", "advent", "--target", "data/image"], "method supervised there, advent asked"),
        (["--steps", 2], "3 steps there, 2 asked"),
    ],
    "irm": [
        (["--method", "vrex"], "method irm there, vrex asked"),
        (["--steps", 6], "anneal_steps 1 there, 2 asked"),
    ],
    "advent": [
        (["--method", "mtkt"], "method advent there, mtkt asked"),
        (["--target", "other/image"], "targets "),
    ],
    "lwf": [(["--method", "mib"], "method lwf there, mib asked")],
}


@pytest.mark.parametrize("method", ANOTHER)
def test_weights_are_of_the_run_that_their_card_tells(data, tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    write_data(Path("other"), ["road", "sky"], seed=1)
    write_data(Path("things"), ["background", "scooter"])
    sources = ["--source", "things"] if method == "lwf" else ["--source", "data"] * 2
    run = ["out", "--method", method, *sources]
    if method in ("supervised", "lwf"):
        assert train(Path("bundle"), "--source", "data", "--seed", 3).exit_code == 0
    if method == "lwf":
        run += ["--weights", "bundle/segmentation.safetensors"]
    if method == "advent":
        run += ["--target", "data/image"]
    assert train(*run).exit_code == 0
    kept = Path("out/segmentation.safetensors").read_bytes()
    for arguments, difference in ANOTHER[method]:
        refused = train(*run, *arguments)
        assert refused.exit_code == 1, refused.output
        assert re.search(rf"error: out/\S+ holds another run: .*{difference}", refused.output)
        assert "choose another --out or remove it" in refused.output
        assert Path("out/segmentation.safetensors").read_bytes() == kept
    assert train(*run).exit_code == 0
    assert Path("out/segmentation.safetensors").read_bytes() == kept


def test_a_bag_without_pictures_is_told(data, tmp_path):
    bags = {name: tmp_path / f"{name}.mcap" for name in ("depth", "none", "cut")}
    with BagWriter(bags["depth"]) as writer:
        writer.image("/camera/image", 0, "camera", np.ones((48, 64), np.float32), "32FC1")
    bags["none"].write_bytes(b"no bag at all")
    bags["cut"].write_bytes(bags["depth"].read_bytes()[:-20])
    bags["silent"] = tmp_path / "silent"
    with Writer(bags["silent"], version=9) as silent:
        types = get_typestore(Stores.ROS2_JAZZY)
        silent.add_connection("/camera/image", "sensor_msgs/msg/Image", typestore=types)
    for bag in bags.values():
        run = ["--source", data, "--method", "advent", "--target-bag", bag]
        refused = train(tmp_path / "out", *run)
        assert refused.exit_code == 1, refused.output
        assert f"error: {bag}: cannot read the images of /camera/image" in refused.output


def test_what_cannot_be_done_is_said(data, tmp_path):
    grown = train(tmp_path / "out", "--method", "plop", "--source", data)
    assert grown.exit_code == 1 and "expected --weights" in grown.output
    missing = train(tmp_path / "out", "--source", tmp_path / "nothing")
    assert missing.exit_code == 1 and "there is no folder" in missing.output
    assert train(tmp_path / "out", "--method", "magic").exit_code == 2
    others = write_data(tmp_path / "others", ["road", "tree"])
    mixed = train(tmp_path / "out", "--source", data, "--source", others)
    assert mixed.exit_code == 1 and "has the classes road, tree" in mixed.output


def label(folder: Path, number: int, value: int) -> None:
    cv2.imwrite(str(folder / "label" / f"{number}.png"), np.full((64, 64), value, np.uint8))


def test_data_that_teach_nothing_or_two_classes_of_one_name_are_refused(data, tmp_path):
    twice = write_data(tmp_path / "twice", ["road", "road"])
    refused = train(tmp_path / "out", "--source", twice)
    assert refused.exit_code == 1 and "expected different classes" in refused.output
    for k in range(9):
        label(data, k, 255)
    refused = train(tmp_path / "out", "--source", data)
    assert refused.exit_code == 1 and "no pixel of 9 labels has a class" in refused.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--steps", 0),
        ("--batch", 0),
        ("--seed", -1),
        ("--height", 8),
        ("--width", 8),
        ("--every", 0),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_the_name_of_its_option(
    data, tmp_path, option, value
):
    refused = train(tmp_path / "out", "--source", data, option, value)
    assert refused.exit_code == 2 and option in refused.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["--target", "--target-bag"])
@pytest.mark.parametrize("method", ["supervised", "fishr", "plop"])
def test_a_target_is_not_ignored(data, tmp_path, method, target):
    refused = train(tmp_path / "out", "--source", data, "--method", method, target, data / "image")
    assert refused.exit_code == 2 and "learns nothing from --target" in refused.output


def test_weights_of_other_classes_are_no_start(data, tmp_path):
    assert train(tmp_path / "first", "--source", data).exit_code == 0
    weights = tmp_path / "first" / "segmentation.safetensors"
    swapped = write_data(tmp_path / "swapped", ["sky", "road"])
    refused = train(tmp_path / "out", "--source", swapped, "--weights", weights)
    assert refused.exit_code == 1
    assert "the weights know road, sky; the data sky, road" in refused.output
    assert train(tmp_path / "out", "--source", data, "--weights", weights).exit_code == 0


def test_a_diverging_training_ends_with_what_to_do(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "cross_entropy", lambda logits, labels: logits.sum() / 0)
    diverged = train(tmp_path / "out", "--source", data)
    assert diverged.exit_code == 1
    assert "error: the loss is not finite" in diverged.output
    assert "lower the learning rate" in diverged.output


@pytest.mark.parametrize(
    ("method", "least"), [("advent", 46), ("multi-dis", 46), ("mtkt", 46), ("plop", 70)]
)
def test_the_least_picture_of_a_method_is_told(data, tmp_path, method, least):
    run = ["--source", data, "--method", method, "--target", data / "image"]
    if method == "plop":
        train(tmp_path / "first", "--source", data)
        scooters = write_data(tmp_path / "scooters", ["background", "scooter"])
        weights = tmp_path / "first" / "segmentation.safetensors"
        run = ["--source", scooters, "--method", method, "--weights", weights]
    small = train(tmp_path / "out", *run, "--height", least - 2)
    assert small.exit_code == 1 and "raise --height and --width" in small.output, small.output
    assert train(tmp_path / "out", *run, "--height", least).exit_code == 0
