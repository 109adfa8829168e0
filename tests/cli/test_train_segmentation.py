"""`ros_xai train segmentation` on tiny data: every family of methods ends in a usable bundle."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from ros_xai.cli import train_segmentation as command
from ros_xai.cli.train_segmentation import segmentation
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import Segmenter
from ros_xai.training import loop
from ros_xai.training import segmentation_recipes as recipes
from ros_xai.world.bag_writer import BagWriter

app = typer.Typer()
app.command()(segmentation)


def write_data(folder: Path, names: list[str], seed: int = 0) -> Path:
    """Nine images of vertical stripes, red and blue as the class, green as the image's number."""
    rng = np.random.default_rng(seed)
    for part in ("image", "label"):
        (folder / part).mkdir(parents=True)
    entries = [f"- {{name: {name}, color: [{i}, 0, 0]}}\n" for i, name in enumerate(names)]
    (folder / "classes.yaml").write_text("classes:\n" + "".join(entries))
    for k in range(9):
        label = rng.integers(0, len(names), 4, dtype=np.uint8).repeat(16)[None].repeat(64, 0)
        image = np.stack([label * 60, np.full_like(label, 90 + k), 200 - label * 60], -1)
        cv2.imwrite(str(folder / "image" / f"{k}.png"), image)
        cv2.imwrite(str(folder / "label" / f"{k}.png"), label)
    return folder


def train(out: Path, *arguments: object, steps: int = 3) -> Result:
    small = ["--steps", steps, "--batch", 4, "--height", 96, "--width", 96, "--out", out]
    return CliRunner().invoke(app, [str(a) for a in (*small, *arguments)])


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


def test_what_is_scored_was_not_learned_from(data, tmp_path, monkeypatch):
    learned, scored = [], []
    learn, score = recipes.supervised, command.score

    def learning(network, labelled, *rest):
        learned.append(labelled)
        return learn(network, labelled, *rest)

    def scoring(network, labelled):
        scored.append(labelled)
        return score(network, labelled)

    monkeypatch.setattr(recipes, "supervised", learning)
    monkeypatch.setattr(command, "score", scoring)
    assert train(tmp_path / "out", "--source", data).exit_code == 0
    numbers = [{int(image[0, 0, 1]) - 90 for image in part.images} for part in (*learned, *scored)]
    assert numbers == [{0, 1, 2, 3, 4, 5, 6, 8}, {7}]


def test_what_is_not_scored_is_learned_from(data, tmp_path, monkeypatch):
    learned, grow = [], recipes.grow

    def growing(bundle, labelled, *rest):
        learned.append(len(labelled.images))
        return grow(bundle, labelled, *rest)

    monkeypatch.setattr(recipes, "grow", growing)
    train(tmp_path / "first", "--source", data)
    scooters = write_data(tmp_path / "scooters", ["background", "scooter"])
    weights = tmp_path / "first" / "segmentation.safetensors"
    run = ["--method", "plop", "--source", scooters, "--weights", weights]
    grown = train(tmp_path / "out", *run)
    assert grown.exit_code == 0 and "IoU" not in grown.output
    assert learned == [9]


def test_an_interrupted_run_goes_on_where_it_was(data, tmp_path, monkeypatch):
    often = loop.LoopConfig(0, learning_rate=2e-3, log_every=1, checkpoint_every=1)
    monkeypatch.setattr(recipes, "Recipe", functools.partial(recipes.Recipe, loop=often))
    save = loop.save_checkpoint

    def saving(folder, step, *rest, **state):
        save(folder, step, *rest, **state)
        if step == 3:
            raise KeyboardInterrupt

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(whole, "--source", data, steps=5).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", saving)
        assert train(cut, "--source", data, steps=5).exit_code != 0
    assert not (cut / "segmentation.safetensors").exists()
    assert train(cut, "--source", data, steps=5).exit_code == 0
    logs = [(out / "checkpoints" / "log.jsonl").read_text() for out in (cut, whole)]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [1, 2, 3, 4, 5]
    for name in ("segmentation.safetensors", "segmentation.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_run_may_be_lengthened_but_not_shortened(data, tmp_path):
    state = tmp_path / "out" / "checkpoints" / "state.json"
    for steps in (3, 5):
        train(tmp_path / "out", "--source", data, steps=steps)
        assert json.loads(state.read_text())["step"] == steps
    shorter = train(tmp_path / "out", "--source", data, steps=4)
    assert shorter.exit_code == 1 and "5 steps there, 4 asked" in shorter.output


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


def grown_by_scooters(tmp_path: Path, streets: Path, method: str) -> tuple[Segmenter, Segmenter]:
    """A segmenter of `streets`, and what the method makes of it with a class more."""
    train(tmp_path / "first", "--source", streets)
    weights = tmp_path / "first" / "segmentation.safetensors"
    scooters = write_data(tmp_path / "scooters", ["background", "scooter"], seed=2)
    result = train(
        tmp_path / "second", "--method", method, "--source", scooters, "--weights", weights
    )
    assert result.exit_code == 0, result.output
    grown = Segmenter.load(tmp_path / "second" / "segmentation.safetensors")
    assert grown.classes.names == ("background", "road", "sky", "scooter")
    return Segmenter.load(weights), grown


PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def test_a_bundle_grows_by_the_classes_it_lacks(data, tmp_path):
    old, grown = grown_by_scooters(tmp_path, data, "plop")
    # Three small steps after the growth the answers are still those of before, one channel up.
    assert (grown(PICTURE).labels == old(PICTURE).labels + 1).mean() > 0.9


def test_a_known_background_comes_first_and_is_no_class_twice(tmp_path):
    streets = write_data(tmp_path / "streets", ["road", "background", "sky"])
    old, grown = grown_by_scooters(tmp_path, streets, "mib")
    assert grown.classes.colors[:3] == ((1, 0, 0), (0, 0, 0), (2, 0, 0))
    moved = np.array([1, 0, 2])[old(PICTURE).labels]
    assert (grown(PICTURE).labels == moved).mean() > 0.9


def test_held_out_images_without_labels_are_not_scored(data, tmp_path):
    cv2.imwrite(str(data / "label" / "7.png"), np.full((64, 64), 255, np.uint8))
    result = train(tmp_path / "out", "--source", data)
    assert result.exit_code == 0 and "IoU" not in result.output
    assert "held_out" not in load_bundle(tmp_path / "out" / "segmentation.safetensors").provenance


def test_the_least_picture_and_batch_are_enough(data, tmp_path):
    small = ["--batch", 1, "--height", 32, "--width", 32]
    assert train(tmp_path / "out", "--source", data, *small).exit_code == 0
