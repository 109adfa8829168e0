"""The network that decides, its metrics, and what the command leaves behind."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file

from ros_xai.cli.explain_steex import curve_svg, region_numbers
from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex import Counterfactual
from ros_xai.explanation.steex_decision import (
    ORACLE,
    DecisionConfig,
    DecisionNetwork,
    decision_card,
    decision_tensors,
    load_decisions,
)
from ros_xai.explanation.steex_metrics import kernel_distance, outside
from ros_xai.nodes.counterfactual_scene import pictures
from ros_xai.training.generation_data import Scenes
from ros_xai.training.generation_decisions import DecisionRecipe, accuracy, train_decision
from ros_xai.training.generation_rebuilt import Rebuilt
from ros_xai.training.segmentation import Augmentation, Labelled


def lamps(count: int) -> Scenes:
    """Grey images with a bright red dot above (a signal) or two below (brake lamps); after each,
    one with none."""
    rng = np.random.default_rng(0)
    images = np.full((count, 24, 48, 3), 120, np.uint8)
    red, brake = np.arange(count) % 4 == 0, np.arange(count) % 4 == 2
    for k in range(count):
        column = int(rng.integers(4, 34))
        if red[k]:
            images[k, 3:6, column : column + 3] = (255, 30, 30)
        if brake[k]:
            images[k, 18:21, column : column + 3] = (255, 90, 90)
            images[k, 18:21, column + 8 : column + 11] = (255, 90, 90)
    seen = np.ones(count, bool)
    labels = np.zeros(images.shape[:3], np.uint8)
    labels[:, :10], labels[:, 14:] = CAMVID.names.index("sign"), CAMVID.names.index("car")
    return Scenes(Labelled(images, labels), seen, seen, red, brake, ~(red | brake))


RECIPE = DecisionRecipe(
    DecisionConfig((6, 8, 12)),
    Augmentation(zoom=1.0, jitter=0.05),
    steps=200,
    moments=6,
    rate=5e-3,
)


def test_a_network_learns_to_stop_for_lamps(tmp_path):
    scenes = lamps(60)
    assert accuracy(train_decision(RECIPE, scenes, tmp_path, show=False), scenes) > 0.9


def test_it_learns_from_rebuilt_moments_too(tmp_path):
    scenes = lamps(60)
    blue = np.ascontiguousarray(scenes.pairs.images[..., ::-1])  # as a generator may paint lamps
    again = Rebuilt(blue[None], scenes.reasons[None])
    network = train_decision(RECIPE, scenes, tmp_path, again=again, show=False)
    assert accuracy(network, scenes) > 0.9
    assert accuracy(network, replace(scenes, pairs=Labelled(blue, scenes.pairs.labels))) > 0.9


def test_causes_are_what_is_lit_or_what_could_be():
    scenes = lamps(3)
    assert [scenes.causes(k) for k in range(3)] == [("sign",), ("sign", "car"), ("car",)]


def test_a_moment_is_as_large_as_its_lamps():
    assert lamps(4).differing.tolist() == [9, 9, 18, 18]  # one dot of 3 x 3, two dots


def test_one_reason_is_enough_to_stop():
    network = DecisionNetwork(DecisionConfig((4, 6, 8))).eval()
    image = torch.rand(2, 3, 32, 64) * 2 - 1
    evidence, logit = network.evidence(image), network(image)
    assert torch.allclose(logit, -torch.log(evidence.exp().sum(1)), atol=1e-5)
    assert (logit <= -evidence.amax(1)).all()


def test_what_is_saved_is_loaded(tmp_path):
    made = DecisionNetwork(DecisionConfig((4, 6, 8))).eval(), DecisionNetwork(ORACLE).eval()
    save_file(
        {k: v.clone() for k, v in decision_tensors(*made).items()}, tmp_path / "a.safetensors"
    )
    (tmp_path / "a.json").write_text(json.dumps(decision_card(*made)))
    image = torch.rand(1, 3, 32, 64)
    for one, again in zip(made, load_decisions(tmp_path / "a.safetensors")):
        assert torch.equal(one(image), again(image))


def test_kernel_distance_against_its_definition():
    a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    # k(x, y) = (x.y / 2 + 1)^3: 1 within a; 1 within b; 1.5^3 or 1 between
    expected = 1 + 1 - 2 * (2 * 1.5**3 + 2) / 4
    assert kernel_distance(a, b) == pytest.approx(expected)
    many = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    assert abs(kernel_distance(many[:200], many[200:])) < 0.2
    assert kernel_distance(many[:200], many[200:] + 1) > 0.5


def test_change_outside_the_regions():
    layout = torch.zeros(1, 2, 1, 4)
    layout[:, 0, :, :3] = 1
    layout[:, 1, :, 3:] = 1
    change = torch.tensor([[[[1.0, 1.0, 0.0, 2.0]]]])
    assert outside(change, layout, (1,)) == pytest.approx(0.5)
    assert outside(change, layout, (0, 1)) == 0


def test_regions_by_name():
    names = ("sky", "sign", "car")
    assert region_numbers("car,sign", names) == [2, 1]
    assert region_numbers("", names) is None
    with pytest.raises(typer.BadParameter, match="unknown class 'bus'"):
        region_numbers("car,bus", names)


def test_pictures_show_what_changed_and_nothing_else():
    before, after = torch.zeros(1, 3, 4, 8), torch.zeros(1, 3, 4, 8)
    after[..., 4:] = 0.1
    codes = torch.zeros(2, 4)
    found = Counterfactual(codes, codes, before, after, 0.2, 0.2, (0.2, 0.8), (0,))
    shown = pictures(found, scale=1)
    assert shown["side_by_side"].shape == (4, 24, 3)
    assert shown["difference"][:, :4].max() == 0
    step = int(shown["after"][0, 7, 0]) - int(shown["before"][0, 7, 0])
    assert (shown["difference"][:, 4:] == 3 * step).all()


def test_the_curve_rises_where_the_probability_does():
    tree = ElementTree.fromstring(curve_svg([0.1, 0.5, 0.9]))
    line = next(e for e in tree if e.tag.endswith("polyline"))
    heights = [float(p.split(",")[1]) for p in line.attrib["points"].split()]
    assert heights == pytest.approx([164, 100, 36])
