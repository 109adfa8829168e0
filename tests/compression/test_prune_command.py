"""`ros_xai prune` and `ros_xai engines`: a bundle that the estimators and nodes take as engine."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.cli.prune_tasks import CALIBRATION_FRAMES, segmentation_task, segmentation_task_on
from ros_xai.data.kitti import EVAL_FRAMES
from ros_xai.data.segmentation import IGNORE, Classes, DataError, Sample
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.engines.base import EngineError
from ros_xai.engines.bundle import CARD, MODEL, read_bundle
from ros_xai.engines.compile import to_onnx
from ros_xai.nodes.depth_config import DepthConfig
from ros_xai.nodes.segmentation_config import SegmentationConfig
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.segmenter import Segmenter
from tests.cli.test_train_segmentation import write_data

K = np.array([[370.0, 0, 319.5], [0, 370, 95.5], [0, 0, 1]])


def invoke(*arguments, code=0):
    answer = CliRunner().invoke(app, list(arguments))
    assert answer.exit_code == code, answer.output
    return answer.output


@pytest.fixture(scope="module")
def without_data():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ROS_XAI_DATA", raising=False)
        yield patch


@pytest.fixture(scope="module")
def depth_bundle(tmp_path_factory, without_data):
    folder = tmp_path_factory.mktemp("depth") / "bundle"
    without_data.setenv("ROS_XAI_CACHE", str(tmp_path_factory.mktemp("cache")))
    text = invoke(
        "prune", "depth", "--method", "red++", "--alpha", "0.002", "--linkage", "complete",
        "--out", str(folder),
    )  # fmt: skip
    assert "not measured: no images given" in text
    assert f"engine: {folder}" in text
    return folder


def test_the_depth_estimator_runs_the_bundle(depth_bundle):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (192, 640, 3), dtype=np.uint8)
    sparse = np.zeros((192, 640), np.float32)
    sparse[[100], ::2], sparse[[150], ::2] = 40.0, 11.0
    small = DepthEstimator.load(engine=str(depth_bundle))
    a, b = small(image, sparse, K), DepthEstimator.load()(image, sparse, K)
    assert np.isfinite(a).all()
    assert np.median(np.abs(a / b - 1)) < 0.1
    other = small(image[:100], sparse[:100], K)  # and other sizes
    assert other.shape == (100, 640)


def test_the_card_tells_how_the_bundle_was_made(depth_bundle):
    card = read_bundle(depth_bundle).card
    assert card["task"] == "depth"
    assert card["origin"] == "depth.safetensors"
    assert card["method"] == {
        "method": "red++", "alpha": 0.002, "strategy": "constant", "linkage": "complete",
        "multiple": 1, "int8": False,
    }  # fmt: skip
    assert card["figures"]["parameters"] < card["figures"]["parameters_before"]
    assert card["figures"]["metric"] == "not measured"
    assert set(card["figures"]["latency"]) >= {"torch"}


def test_a_tampered_bundle_is_refused_by_the_estimator(depth_bundle, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in depth_bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    data = bytearray((copy / MODEL).read_bytes())
    data[-1] ^= 1
    (copy / MODEL).write_bytes(bytes(data))
    with pytest.raises(EngineError, match="not the file that the card was written for"):
        DepthEstimator.load(engine=str(copy))
    with pytest.raises(EngineError, match="expected a bundle for segmentation; got depth"):
        Segmenter.compressed(depth_bundle)


def test_segmentation(tmp_path, without_data):
    folder = tmp_path / "bundle"
    invoke("prune", "segmentation", "--method", "red", "--out", str(folder))
    segmenter, digest = Segmenter.compressed(folder)
    assert digest == json.loads((folder / CARD).read_text())["digest"]
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    whole = Segmenter.load()
    assert segmenter.classes.names == whole.classes.names
    assert segmenter.classes.colors == whole.classes.colors
    assert (segmenter(image).labels == whole(image).labels).mean() > 0.97


def test_int8_is_calibrated_on_frames_that_it_is_not_judged_on():
    assert len(CALIBRATION_FRAMES) == 12
    assert not set(CALIBRATION_FRAMES) & set(EVAL_FRAMES)


def test_int8_and_its_report(tmp_path, without_data):
    """On images of a folder: other ones are calibrated on than judged on, all figures are there."""
    rng = np.random.default_rng(0)
    for name in ("image", "label"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number in range(8):
        picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"data/image/{number}.png"), picture)
        cv2.imwrite(str(tmp_path / f"data/label/{number}.png"), picture[..., 0] % 11)
    judged = segmentation_task(labelled=tmp_path / "data")
    assert len(judged.inputs) == len(judged.calibration) == 2
    for (mine,) in judged.inputs:
        assert not any(torch.equal(mine, other) for (other,) in judged.calibration)
    folder = tmp_path / "bundle"
    invoke(
        "prune", "segmentation", "--method", "red", "--int8",
        "--labelled", str(tmp_path / "data"), "--out", str(folder),
    )  # fmt: skip
    figures = read_bundle(folder).card["figures"]
    assert 0 < figures["output_error"]["relative"] < 0.5
    assert figures["metric"]["name"] == "mIoU"
    assert set(figures["latency"]) == {"onnxruntime", "openvino"}
    # A quarter of the weights' bytes, and the scales.
    whole = to_onnx(judged.deploy(judged.module), judged.signature)
    assert figures["graph_bytes"] == (folder / MODEL).stat().st_size < 0.4 * len(whole)


def test_a_segmenter_is_judged_by_labels_of_its_own_classes(tmp_path):
    ours, theirs = (
        write_data(tmp_path / name, classes)
        for name, classes in (("ours", ["road", "sky"]), ("theirs", ["sky", "road"]))
    )
    two = Classes(("road", "sky"), ((0, 0, 0), (9, 9, 9)), ((0,), (1,)))
    network = SegmentationNetwork(NetworkConfig(2, (4, 4, 8, 8), 1, 8)).eval()
    weights = save_bundle(tmp_path / "two.safetensors", network, two, {})
    assert len(segmentation_task(weights, ours).inputs) == 3
    for others in (weights, None):  # the shipped network does not know them either
        with pytest.raises(DataError, match="theirs has the classes sky, road; expected those of"):
            segmentation_task(others, theirs)
    # CamVid judges whoever knows its classes, nobody else; its images bring no classes.yaml.
    (ours / "classes.yaml").unlink()
    assert not segmentation_task(weights, camvid=ours).inputs
    assert len(segmentation_task(camvid=ours).inputs) == 3


def test_images_without_labels_judge_nothing():
    blank = Sample(np.zeros((48, 64, 3), np.uint8), np.full((48, 64), IGNORE, np.uint8), "blank")
    task = segmentation_task_on([blank])
    with pytest.raises(DataError, match="no pixel of the 1 images"):
        task.score(task.engine(task.module, "torch"))


def test_int8_needs_images(tmp_path, without_data):
    text = invoke("prune", "depth", "--int8", "--out", str(tmp_path / "b"), code=1)
    assert "calibrated on images" in text
    assert not (tmp_path / "b").exists()


def test_wrong_weights_are_an_error_in_one_line(tmp_path, without_data):
    text = invoke("prune", "depth", "--weights", str(tmp_path / "none.safetensors"), code=1)
    assert text.startswith("error: no ")


def test_engines_lists_all_and_says_why_not():
    lines = invoke("engines").splitlines()
    names = [line.split()[0] for line in lines]
    assert names == ["tensorrt", "openvino", "onnxruntime", "torch"]
    assert all(len(line.split()) > 2 for line in lines)
    assert lines[-1].split()[1] == "yes"


@pytest.mark.parametrize("config", [DepthConfig, SegmentationConfig])
def test_the_nodes_take_an_engine_or_a_folder(config, tmp_path):
    assert config(engine=str(tmp_path)).engine == str(tmp_path)
    with pytest.raises(ValueError, match=r"expected torch, onnxruntime, .* or the folder"):
        config(engine="tensorflow")
