"""Engines agree, sizes come back, bundles are checked before they are used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from ros_xai.data.segmentation import CAMVID, Classes
from ros_xai.segmentation.bundle import BundleError, check_growth, load_bundle, save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.picture import overlay
from ros_xai.segmentation.segmenter import Segmenter, network_size

SMALL = NetworkConfig(widths=(4, 8, 8, 8), blocks=1, decoder=8)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = SegmentationNetwork(SMALL).eval()
    return save_bundle(tmp_path / "net.safetensors", network, CAMVID, {"data": "none"})


def image(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_bundle_comes_back_as_it_was(weights):
    bundle = load_bundle(weights)
    torch.manual_seed(0)
    for a, b in zip(bundle.network.parameters(), SegmentationNetwork(SMALL).parameters()):
        assert torch.equal(a, b)
    assert bundle.classes.names == CAMVID.names and bundle.classes.colors == CAMVID.colors
    assert bundle.provenance == {"data": "none"} and not bundle.network.training


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_answer_as_torch_does(weights, engine):
    pytest.importorskip(engine)
    reference, other = Segmenter.load(weights), Segmenter.load(weights, engine)
    for size in ((48, 64), (33, 71)):
        expected, got = reference(image(*size)), other(image(*size))
        assert (expected.labels == got.labels).mean() > 0.999
        np.testing.assert_allclose(got.confidence, expected.confidence, atol=1e-4)
        assert got.labels.dtype == np.uint8 and got.confidence.dtype == np.float32


def test_confidence_is_the_softmax_probability_of_the_label(weights):
    network = load_bundle(weights).network
    tensor = torch.from_numpy(image()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        probability, label = network(tensor).softmax(1).max(1)
    labels, confidence = Segmenter.load(weights)(image())
    np.testing.assert_array_equal(labels, label[0].numpy())
    np.testing.assert_allclose(confidence, probability[0].numpy(), atol=1e-6)


def test_large_images_are_answered_at_their_own_size(weights):
    segmenter = Segmenter.load(weights, max_pixels=60 * 80)
    small = np.full((60, 80, 3), 90, np.uint8)
    small[:, 40:] = 200
    large = small.repeat(4, 0).repeat(4, 1)
    expected, got = segmenter(small), segmenter(large)
    np.testing.assert_array_equal(got.labels, expected.labels.repeat(4, 0).repeat(4, 1))
    assert got.confidence.shape == (240, 320)


def test_network_size_keeps_the_aspect_and_never_enlarges():
    assert network_size(240, 320) == (240, 320)
    assert network_size(100, 100) == (100, 100)
    rows, columns = network_size(1080, 1920)
    assert rows * columns == pytest.approx(320 * 240, rel=0.01)
    assert columns / rows == pytest.approx(16 / 9, rel=0.01)
    assert rows % 8 == columns % 8 == 0


@pytest.mark.parametrize(
    "wrong", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3)), np.zeros((8, 40, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(weights, wrong):
    with pytest.raises(ValueError, match="expected"):
        Segmenter.load(weights)(wrong)


def test_an_unknown_engine_is_refused(weights):
    with pytest.raises(ValueError, match="got 'abacus'"):
        Segmenter.load(weights, "abacus")


def test_a_missing_or_foreign_card_is_named(weights):
    card = weights.with_suffix(".json")
    text = card.read_text()
    card.write_text(text.replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(BundleError, match="the card is of other weights"):
        load_bundle(weights)
    card.write_text(text.replace('"blocks"', '"blocs"'))
    with pytest.raises(BundleError, match="did you mean blocks"):
        load_bundle(weights)
    card.write_text(text.replace('"pole"', '"sky"'))
    with pytest.raises(BundleError, match="expected 11 different class names"):
        load_bundle(weights)
    card.unlink()
    with pytest.raises(BundleError, match="with its card NAME"):
        load_bundle(weights)


def test_weights_that_do_not_fit_or_are_not_finite_are_refused(weights, tmp_path):
    bundle = load_bundle(weights)
    with torch.no_grad():
        bundle.network.context.bias[0] = torch.nan
    path = save_bundle(tmp_path / "nan.safetensors", bundle.network, CAMVID, {})
    with pytest.raises(BundleError, match=r"context.bias holds values that are not finite"):
        load_bundle(path)
    other = tmp_path / "other.safetensors"
    card = json.loads(weights.with_suffix(".json").read_text())
    for file in (save({"a": torch.zeros(1)}), weights.read_bytes()[:1000], b""):
        other.write_bytes(file)
        card["sha256"] = hashlib.sha256(file).hexdigest()
        other.with_suffix(".json").write_text(json.dumps(card))
        with pytest.raises(BundleError, match="do not fit the card's network"):
            load_bundle(other)


def test_a_bundle_names_as_many_classes_as_the_network_has(tmp_path):
    classes = Classes(("a",), ((0, 0, 0),), ((0,),))
    with pytest.raises(BundleError, match="1 classes named; the network has 11"):
        save_bundle(tmp_path / "x.safetensors", SegmentationNetwork(SMALL), classes, {})


def test_growth_may_add_classes_and_reorder_but_not_forget_any():
    def named(*names: str) -> Classes:
        return Classes(names, ((0, 0, 0),) * len(names), tuple((i,) for i in range(len(names))))

    check_growth(named("road", "sky"), named("sky", "scooter", "road"))
    with pytest.raises(BundleError, match="forgets the classes road"):
        check_growth(named("road", "sky"), named("sky", "scooter"))


def test_overlay_mixes_the_colour_of_each_label():
    picture, labels = np.full((2, 2, 3), 100, np.uint8), np.array([[0, 1], [2, 10]], np.uint8)
    mixed = overlay(picture, labels, CAMVID, opacity=0.5)
    expected = 50 + np.array(CAMVID.colors)[labels] / 2
    np.testing.assert_allclose(mixed, expected, atol=1)
