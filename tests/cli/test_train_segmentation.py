"""`ros_xai train segmentation` on tiny data: every family of methods ends in a usable bundle."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from ros_xai.cli.train_segmentation import segmentation
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import Segmenter
from ros_xai.world.bag_writer import BagWriter

app = typer.Typer()
app.command()(segmentation)


def write_data(folder: Path, names: list[str], seed: int = 0) -> Path:
    """Nine images of vertical stripes, one colour per class."""
    rng = np.random.default_rng(seed)
    for part in ("image", "label"):
        (folder / part).mkdir(parents=True)
    entries = [f"- {{name: {name}, color: [{i}, 0, 0]}}\n" for i, name in enumerate(names)]
    (folder / "classes.yaml").write_text("classes:\n" + "".join(entries))
    for k in range(9):
        label = rng.integers(0, len(names), 4, dtype=np.uint8).repeat(16)[None].repeat(64, 0)
        image = np.stack([label * 60, np.full_like(label, 99), 200 - label * 60], -1)
        cv2.imwrite(str(folder / "image" / f"{k}.png"), image)
        cv2.imwrite(str(folder / "label" / f"{k}.png"), label)
    return folder


def train(out: Path, *arguments: object, steps: int = 3) -> Result:
    small = ["--steps", steps, "--batch", 4, "--height", 96, "--width", 96, "--out", out]
    return CliRunner().invoke(app, [str(a) for a in (*arguments, *small)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", ["road", "sky"])


def test_a_folder_becomes_a_bundle_with_its_score_and_origin(data, tmp_path):
    result = train(tmp_path / "out", "--source", data)
    assert result.exit_code == 0, result.output
    assert "IoU" in result.output and "on 1 images" in result.output
    bundle = load_bundle(tmp_path / "out" / "segmentation.safetensors")
    assert bundle.classes.names == ("road", "sky")
    assert bundle.provenance["method"] == "supervised" and bundle.provenance["steps"] == 3
    assert 0 <= bundle.provenance["held_out"]["mIoU"] <= 1


def test_an_interrupted_run_goes_on_where_it_was(data, tmp_path):
    # Six steps at once, or three and then three more: the same log of the last steps.
    state = tmp_path / "out" / "checkpoints" / "state.json"
    train(tmp_path / "out", "--source", data, steps=3)
    assert json.loads(state.read_text())["step"] == 3
    train(tmp_path / "out", "--source", data, steps=5)
    assert json.loads(state.read_text())["step"] == 5


def test_two_domains_are_made_alike(data, tmp_path):
    other = write_data(tmp_path / "other", ["road", "sky"], seed=1)
    result = train(tmp_path / "out", "--method", "fishr", "--source", data, "--source", other)
    assert result.exit_code == 0, result.output
    alone = train(tmp_path / "alone", "--method", "fishr", "--source", data)
    assert alone.exit_code == 1 and "expected two or more --source" in alone.output


def test_a_bag_and_a_folder_are_targets(data, tmp_path):
    bag = tmp_path / "drive.mcap"
    with BagWriter(bag) as writer:
        for i in range(3):
            picture = np.full((48, 64, 3), 60 + i, np.uint8)
            writer.image("/camera/image", i * 10**8, "camera", picture, "rgb8")
    result = train(
        tmp_path / "out", "--method", "mtkt", "--source", data,
        "--target-bag", bag, "--target", data / "image", "--every", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    bundle = load_bundle(tmp_path / "out" / "segmentation.safetensors")
    assert list(bundle.network.heads) == ["main"]
    nowhere = train(tmp_path / "nowhere", "--method", "mtkt", "--source", data)
    assert nowhere.exit_code == 1 and "expected --target or --target-bag" in nowhere.output


def test_a_bundle_grows_by_the_classes_it_lacks(data, tmp_path):
    train(tmp_path / "first", "--source", data)
    weights = tmp_path / "first" / "segmentation.safetensors"
    scooters = write_data(tmp_path / "scooters", ["background", "scooter"], seed=2)
    result = train(
        tmp_path / "second", "--method", "plop", "--source", scooters, "--weights", weights
    )
    assert result.exit_code == 0, result.output
    grown = Segmenter.load(tmp_path / "second" / "segmentation.safetensors")
    assert grown.classes.names == ("background", "road", "sky", "scooter")
    # Three small steps after the growth the answers are still those of before, one channel up.
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    before, after = Segmenter.load(weights)(picture).labels, grown(picture).labels
    assert (after == before + 1).mean() > 0.9


def test_what_cannot_be_done_is_said(data, tmp_path):
    grown = train(tmp_path / "out", "--method", "plop", "--source", data)
    assert grown.exit_code == 1 and "expected --weights" in grown.output
    missing = train(tmp_path / "out", "--source", tmp_path / "nothing")
    assert missing.exit_code == 1 and "no classes.yaml" in missing.output
    assert train(tmp_path / "out", "--method", "magic").exit_code == 2
    others = write_data(tmp_path / "others", ["road", "tree"])
    mixed = train(tmp_path / "out", "--source", data, "--source", others)
    assert mixed.exit_code == 1 and "has the classes road, tree" in mixed.output
