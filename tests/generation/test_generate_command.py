"""`ros_xai generate` as a user runs it, with small networks of its own."""

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from ros_xai.cli import generate
from ros_xai.data.segmentation import CAMVID, LabelledFolder
from ros_xai.generation.image_network import ImageConfig, ImageNetwork
from ros_xai.generation.images import ImageGenerator, StyleBank
from ros_xai.generation.layout_network import LayoutConfig, LayoutNetwork
from ros_xai.generation.layouts import LayoutGenerator
from ros_xai.generation.palette import PaletteModel, proportions_of

CLASSES = len(CAMVID)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    mean = np.full((1, CLASSES), 1 / CLASSES)
    palettes = PaletteModel(np.ones(1), mean, np.eye(CLASSES)[None] * 1e-4)
    layouts = LayoutGenerator(
        LayoutNetwork(LayoutConfig(latent=4, widths=(8, 8, 8))), palettes, CAMVID.names
    )
    network = ImageNetwork(ImageConfig(style=8, encoder=(4, 6, 8), layout=4, widths=(8, 8, 8)))
    bank = StyleBank(torch.rand(3, CLASSES, 8), torch.ones(3, CLASSES, dtype=torch.bool))
    images = ImageGenerator(network, bank, CAMVID.names)
    for name, made in (("layout", layouts), ("image", images)):
        tensors = {k: v.clone().contiguous() for k, v in made.tensors().items()}
        save_file(tensors, tmp_path / f"{name}.safetensors")
        (tmp_path / f"{name}.json").write_text(json.dumps(made.card()))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(generate.app, [str(a) for a in arguments])


def test_layouts_of_a_palette(weights, tmp_path):
    out = tmp_path / "made"
    done = run(
        *("layout", "--palette", "road=0.5,car=0.2", "--count", 2, "--out", out),
        *("--weights", weights / "layout.safetensors", "--no-image", "--size", "32x64"),
    )
    assert done.exit_code == 0, done.output
    assert "road  0.500" in done.output
    labels = [cv2.imread(str(out / f"{i:04d}_label.png"), cv2.IMREAD_UNCHANGED) for i in range(2)]
    assert all(label.shape == (32, 64) and label.max() < CLASSES for label in labels)
    colour = cv2.imread(str(out / "0000_colour.png"))[..., ::-1]
    assert np.array_equal(colour, np.array(CAMVID.colors, np.uint8)[labels[0]])
    again = run(
        *("layout", "--palette", "road=0.5,car=0.2", "--count", 2, "--out", tmp_path / "again"),
        *("--weights", weights / "layout.safetensors", "--no-image", "--size", "32x64"),
    )
    assert again.exit_code == 0
    same = cv2.imread(str(tmp_path / "again" / "0001_label.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(same, labels[1])


def test_an_edit_leaves_the_outside_alone(weights, tmp_path):
    before = np.random.default_rng(0).integers(0, CLASSES, (40, 80)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "before.png"), before)
    out = tmp_path / "after.png"
    done = run(
        *("edit", tmp_path / "before.png", "--box", "10,5,50,30", "--palette", "car=1"),
        *("--out", out, "--weights", weights / "layout.safetensors"),
    )
    assert done.exit_code == 0, done.output
    after = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    outside = np.ones(before.shape, bool)
    outside[5:30, 10:50] = False
    assert np.array_equal(after[outside], before[outside])
    assert (after[5:30, 10:50] == CAMVID.names.index("car")).all()  # all that was asked for


def test_pairs_are_what_training_takes(weights, tmp_path):
    out = tmp_path / "pairs"
    done = run(
        *("pairs", "--count", 3, "--out", out, "--weights", weights / "layout.safetensors"),
        *("--image-weights", weights / "image.safetensors"),
    )
    assert done.exit_code == 0, done.output
    samples = LabelledFolder(out)
    assert samples.classes.names == CAMVID.names
    assert len(samples) == 3
    assert samples[0].image.shape == (16, 32, 3)
    assert proportions_of(samples[0].label[None], CLASSES).sum() == pytest.approx(1)
    # and its styles can be taken again
    styled = run(
        *("pairs", "--count", 1, "--styles", out, "--out", tmp_path / "styled"),
        *("--weights", weights / "layout.safetensors"),
        *("--image-weights", weights / "image.safetensors"),
    )
    assert styled.exit_code == 0, styled.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("layout", "--palette", "rod=0.4"), "unknown class 'rod'"),
        (("layout", "--palette", "road=0.7,sky=0.7"), "sum to 1.4"),
        (("layout", "--palette", "road"), "expected CLASS=SHARE"),
        (("layout", "--size", "64"), "ROWSxCOLUMNS"),
        (("layout", "--size", "0x64"), "ROWSxCOLUMNS"),
    ],
)
def test_what_cannot_be_asked_for(weights, tmp_path, arguments, message):
    done = run(*arguments, "--out", tmp_path / "x", "--weights", weights / "layout.safetensors")
    assert done.exit_code == 1
    assert message in done.output


def test_labels_and_boxes_that_cannot_be_edited(weights, tmp_path):
    label = np.full((20, 40), 50, np.uint8)
    cv2.imwrite(str(tmp_path / "wrong.png"), label)
    cv2.imwrite(str(tmp_path / "right.png"), label * 0)
    more = ("--palette", "car=0.5", "--weights", weights / "layout.safetensors")
    wrong = run("edit", tmp_path / "wrong.png", "--box", "0,0,9,9", *more)
    assert wrong.exit_code == 1 and "value 50 is no class" in wrong.output
    beyond = run("edit", tmp_path / "right.png", "--box", "0,0,99,9", *more)
    assert beyond.exit_code == 1 and "box 0,0,99,9" in beyond.output
    cv2.imwrite(str(tmp_path / "void.png"), label * 0 + 255)
    void = run("edit", tmp_path / "void.png", "--box", "0,0,9,9", *more)
    assert void.exit_code == 1 and "no pixel of the label has a class" in void.output
    text = run("edit", tmp_path / "right.png", "--box", "0,0,9", *more)
    assert text.exit_code == 1 and "expected left,top,right,bottom" in text.output


def test_missing_weights_say_what_makes_them(tmp_path):
    done = run("layout", "--weights", tmp_path / "none.safetensors", "--out", tmp_path / "x")
    assert done.exit_code == 1
    assert "ros_xai generate train layout" in done.output


@pytest.mark.parametrize("name", ["edited.jpg", "edited", "edited.png.tif"])
def test_an_edit_is_a_png(weights, tmp_path, name):
    cv2.imwrite(str(tmp_path / "before.png"), np.zeros((20, 40), np.uint8))
    asked = ("--box", "0,0,9,9", "--palette", "car=1", "--out", tmp_path / name)
    done = run("edit", tmp_path / "before.png", *asked)
    assert done.exit_code == 2 and ".png" in done.output
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("command", ["layout", "pairs"])
def test_seeds_and_folders_that_are_none(weights, tmp_path, command):
    seed = run(command, "--seed", -1, "--out", tmp_path / "x")
    assert seed.exit_code == 2 and "--seed" in seed.output
    (tmp_path / "file").write_text("mine")
    file = run(command, "--out", tmp_path / "file")
    assert file.exit_code == 2 and "is a file" in " ".join(file.output.replace("│", " ").split())
    more = ("--weights", weights / "layout.safetensors", "--out", tmp_path / "file" / "x")
    beyond = run(command, "--count", 1, *more)
    assert beyond.exit_code == 1 and beyond.output.startswith("error: ")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["layout", "image"])
@pytest.mark.parametrize("card", ["\n", "[]", "{}", '{"network": {"widths": [4, 4, 4]}}'])
def test_weights_with_a_card_of_something_else_are_named(weights, tmp_path, name, card):
    (weights / f"{name}.json").write_text(card)
    both = ("--weights", weights / "layout.safetensors")
    both += ("--image-weights", weights / "image.safetensors")
    done = run("pairs", "--count", 1, "--out", tmp_path / "x", *both)
    assert done.exit_code == 1
    assert f"{name}.safetensors: expected weights of the {name} generator" in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "x").exists()
