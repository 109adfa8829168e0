"""Depth and segmentation as black boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.depth.estimator import DepthEstimator
from ros_xai.explanation.explainer import SobolExplainer
from ros_xai.nodes import explained
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork

HEIGHT, WIDTH = 64, 128
K = [[110.0, 0, 64], [0, 110.0, 32], [0, 0, 1]]
BATCH = 4


@pytest.fixture(scope="module")
def estimator() -> DepthEstimator:
    return DepthEstimator.load()


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Noise, and beams on three rows that see 10 m on the left and 30 m on the right."""
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    sparse = np.zeros((HEIGHT, WIDTH), np.float32)
    sparse[20:60:16, ::2] = np.where(np.arange(0, WIDTH, 2) < WIDTH // 2, 10.0, 30.0)
    return rgb, sparse


@pytest.mark.parametrize("make", [explained.depth_by_image, explained.depth_by_lidar])
def test_unmasked_inputs_give_the_estimators_own_depth(make, estimator, scene) -> None:
    rgb, sparse = scene
    box = make(estimator, rgb, sparse, K, BATCH)
    np.testing.assert_allclose(
        box.predict(box.inputs[None])[0], estimator(rgb, sparse, K), rtol=1e-4
    )


@pytest.mark.parametrize("make", [explained.depth_by_image, explained.depth_by_lidar])
def test_a_batch_is_its_inputs_one_by_one(make, estimator, scene) -> None:
    box = make(estimator, *scene, K, BATCH)
    masks = np.random.default_rng(1).random((3, 2, 4))
    inputs = box.perturbation(box.inputs, (2, 4))(masks)
    together = box.predict(inputs)
    alone = np.concatenate([box.predict(each[None]) for each in inputs])
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_depth_on_the_left_rests_on_the_returns_there(estimator, scene) -> None:
    region = np.zeros((HEIGHT, WIDTH), dtype=bool)
    region[24:56, 8:40] = True
    question = explained.about_depth(explained.depth_by_lidar(estimator, *scene, K, 16), region)
    explainer = SobolExplainer(
        question.box.predict, (2, 4), 8, question.box.perturbation, 16, masks="binary"
    )
    values = explainer.explain(question.box.inputs, question.target).values
    assert values[:, :2].sum() > 10 * values[:, 2:].sum()
    whole = question.agreement(torch.as_tensor(question.box.predict(question.box.inputs[None])))
    assert float(whole) == pytest.approx(1, abs=1e-5)


def bright_or_dark() -> SegmentationNetwork:
    """Any network, with a head that says 1 where its features say more than their mean."""
    torch.manual_seed(0)
    return SegmentationNetwork(NetworkConfig(classes=2, widths=(4, 4, 8, 8), decoder=8)).eval()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_logits_of_a_batch_are_the_networks(engine: str, scene) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    network = bright_or_dark()
    box = explained.classes_by_image(
        explained.logits_engine(network, engine, 1, "f32"), scene[0], HEIGHT * WIDTH, BATCH
    )
    inputs = np.stack([box.inputs, box.inputs[:, ::-1], box.inputs * 0.5])
    with torch.no_grad():
        expected = network.layers(torch.from_numpy(inputs))["logits"].numpy()
    np.testing.assert_allclose(box.predict(inputs), expected, atol=1e-3)


def test_the_fast_precision_gives_two_digits(scene) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    network = bright_or_dark()
    fast, exact = (
        explained.classes_by_image(
            explained.logits_engine(network, "openvino", 1, precision), scene[0], 8192, BATCH
        )
        for precision in ("bf16", "f32")
    )
    expected = exact.predict(exact.inputs[None])
    error = np.abs(fast.predict(fast.inputs[None]) - expected).max()
    assert error < 0.03 * np.abs(expected).max()


def test_eight_bits_rank_the_parts_of_an_image_as_full_precision_does(scene) -> None:
    for package in ("openvino", "onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    network = bright_or_dark()
    engine = explained.logits_engine(network, "openvino-int8", 1)
    assert not engine.calibrated
    fast = explained.classes_by_image(engine, scene[0], 8192, BATCH)
    assert engine.calibrated and engine.name.endswith("int8")
    exact = explained.classes_by_image(
        explained.logits_engine(network, "openvino", 1, "f32"), scene[0], 8192, BATCH
    )
    expected = exact.predict(exact.inputs[None])
    error = np.abs(fast.predict(fast.inputs[None]) - expected).max()
    assert 0 < error < 0.05 * np.abs(expected).max()


def test_a_class_is_asked_about_where_it_is_the_answer(scene) -> None:
    network = bright_or_dark()
    engine = explained.logits_engine(network, "torch")
    box = explained.classes_by_image(engine, scene[0], HEIGHT * WIDTH, BATCH)
    with torch.no_grad():
        labels = network(torch.from_numpy(box.inputs[None])).argmax(1)[0].numpy()
    left = np.zeros((HEIGHT, WIDTH), dtype=bool)
    left[:, : WIDTH // 2] = True
    present = int(np.bincount(labels.ravel()).argmax())
    question = explained.about_class(box, present, left)
    np.testing.assert_array_equal(question.target.region, (labels == present) & left)
    with pytest.raises(ValueError, match="no pixel"):
        explained.about_class(box, present, np.zeros_like(left))


def test_an_engine_that_does_not_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="torch, openvino, openvino-int8; got 'onnxruntime'"):
        explained.logits_engine(bright_or_dark(), "onnxruntime")
