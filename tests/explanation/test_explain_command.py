"""`ros_xai explain` from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from ros_xai.cli.explain import explain
from ros_xai.cli.explain_questions import region_of
from ros_xai.data.segmentation import CAMVID
from ros_xai.segmentation.bundle import save_bundle
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.segmenter import Segmenter

HEIGHT, WIDTH = 64, 128
CAMERA = "110,110,64,32"
QUICK = ("--grid", "2x4", "--designs", "2")

app = typer.Typer()
app.command()(explain)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def unframed(answer: Result) -> str:
    """The output without the lines and breaks of its frame."""
    return " ".join(answer.output.replace("│", " ").split())


@pytest.fixture
def street(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "street.png"), pixels)
    return tmp_path / "street.png"


@pytest.fixture
def lidar(tmp_path: Path) -> Path:
    depth = np.zeros((HEIGHT, WIDTH), np.uint16)
    depth[20:60:16, ::2] = 256 * np.where(np.arange(0, WIDTH, 2) < WIDTH // 2, 10, 30)
    cv2.imwrite(str(tmp_path / "lidar.png"), depth)
    return tmp_path / "lidar.png"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = NetworkConfig(classes=len(CAMVID), widths=(4, 4, 8, 8), decoder=8)
    return save_bundle(tmp_path / "tiny.safetensors", SegmentationNetwork(config), CAMVID, {})


def test_depth_by_its_beams(street: Path, lidar: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    depth = ("--task", "depth", "--intrinsics", CAMERA, "--sparse", lidar, "--by", "lidar")
    answer = run(
        street, *depth, "--region", "8,24,40,56", "--out", out, "--grid", "2x4", "--designs", "8"
    )
    assert answer.exit_code == 0, answer.output
    figures = json.loads((out / "figures.json").read_text())
    assert figures["forwards"] == 8 * 9
    assert figures["deletion"] < figures["insertion"]
    cells = np.load(out / "cells.npy")
    assert cells.shape == (2, 4)
    assert figures["top_cells"][0] == list(np.unravel_index(cells.argmax(), cells.shape))
    assert cells[:, :2].sum() > cells[:, 2:].sum()
    assert cv2.imread(str(out / "overlay.png")).shape == (HEIGHT, WIDTH, 3)
    assert (out / "curves.svg").read_text().count("<polyline") == 4


def answers_of(weights: Path, street: Path) -> tuple[str, str]:
    """A class that the network sees somewhere, and one that it sees nowhere."""
    labels = Segmenter.load(weights)(cv2.imread(str(street))[..., ::-1]).labels
    seen = np.bincount(labels.ravel(), minlength=len(CAMVID))
    assert seen.min() == 0
    return CAMVID.names[seen.argmax()], CAMVID.names[seen.argmin()]


@pytest.mark.parametrize(
    ("method", "forwards"),
    [("sobol", 18), ("effects", 32), ("rise", 18), ("occlusion", 9), ("random", 0)],
)
def test_a_class_by_every_method(
    street: Path, weights: Path, tmp_path: Path, method: str, forwards: int
) -> None:
    seen, _ = answers_of(weights, street)
    asked = ("--weights", weights, "--target", seen, "--method", method, "--out", tmp_path / "out")
    answer = run(street, *asked, *QUICK)
    assert answer.exit_code == 0, answer.output
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert (figures["method"], figures["forwards"]) == (method, forwards)
    assert -1 <= figures["mu_fidelity"] <= 1


def test_a_class_that_is_nowhere(street: Path, weights: Path) -> None:
    _, unseen = answers_of(weights, street)
    answer = run(street, "--weights", weights, "--target", unseen)
    assert answer.exit_code == 2
    assert "no pixel asked about" in answer.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--task", "depth"), "--intrinsics"),
        (("--task", "depth", "--intrinsics", CAMERA, "--by", "lidar"), "give --sparse"),
        (("--region", "200,0,300,64"), "holds no pixel"),
        (("--region", "1,2,3"), "left,top,right,bottom"),
        (("--grid", "8"), "rows x columns"),
        (("--grid", "nanx3"), "rows x columns"),
        (("--region", "-10,-10,-5,-5"), "holds no pixel"),
        (("--region", "40,10,20,30"), "holds no pixel"),
        (("--region", "0,0,nan,9"), "left,top,right,bottom"),
        (("--region", "0,0,inf,9"), "left,top,right,bottom"),
        (("--task", "depth", "--intrinsics", "nan,1,1,1"), "fx,fy,cx,cy"),
        (("--task", "depth", "--intrinsics", "110,0,64,32"), "focal lengths above 0"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_what_is_missing_is_named(street: Path, arguments: tuple[str, ...], says: str) -> None:
    answer = run(street, *arguments)
    assert answer.exit_code == 2
    assert says in unframed(answer)


def test_an_unknown_class_names_the_known(street: Path, weights: Path) -> None:
    answer = run(street, "--weights", weights, "--target", "plane")
    assert answer.exit_code == 2
    assert "bicyclist" in answer.output


def test_missing_weights_are_no_traceback(street: Path, tmp_path: Path) -> None:
    answer = run(street, "--weights", tmp_path / "none.safetensors")
    assert answer.exit_code == 1
    assert "none.safetensors" in answer.output


def test_a_region_ends_at_the_image() -> None:
    region = region_of("-3,-2,5,400", HEIGHT, WIDTH)
    assert region is not None
    assert region.sum() == 5 * HEIGHT and region[:, :5].all()


@pytest.mark.parametrize("method", ["sobol", "effects", "rise", "occlusion"])
def test_an_answer_that_nothing_changes_is_no_explanation(
    street: Path, weights: Path, tmp_path: Path, method: str
) -> None:
    network = SegmentationNetwork(
        NetworkConfig(classes=len(CAMVID), widths=(4, 4, 8, 8), decoder=8)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    blind = save_bundle(tmp_path / "blind.safetensors", network, CAMVID, {})
    seen, _ = answers_of(weights, street)
    for asked, name, constant in ((blind, CAMVID.names[0], True), (weights, seen, False)):
        out = tmp_path / f"out-{constant}"
        more = ("--weights", asked, "--target", name, "--method", method, "--out", out)
        answer = run(street, *more, *QUICK)
        assert answer.exit_code == 0, answer.output
        assert ("the answer is the same under every mask" in answer.output) == constant
        figures = json.loads((out / "figures.json").read_text())
        assert figures.get("constant", False) == constant


def written(path: Path, content: bytes | np.ndarray) -> Path:
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.npy", b"\n", "no array of metres"),
        ("empty.npy", b"", "no array of metres"),
        ("text.npy", np.full((HEIGHT, WIDTH), "near"), "no array of metres"),
        ("zeros.npy", np.zeros((HEIGHT, WIDTH)), "holds no return"),
        ("behind.npy", np.full((HEIGHT, WIDTH), -1.0), "holds no return"),
        ("nan.npy", np.full((HEIGHT, WIDTH), np.nan), "holds no return"),
        ("small.npy", np.ones((3, 4)), "expected the image's"),
        ("bad.png", b"\n", "no 16-bit PNG"),
    ],
)
def test_returns_that_are_none_are_refused(
    street: Path, tmp_path: Path, name: str, content: bytes | np.ndarray, says: str
) -> None:
    sparse = written(tmp_path / name, content)
    depth = ("--task", "depth", "--intrinsics", CAMERA, "--by", "lidar", "--sparse", sparse)
    answer = run(street, *depth)
    assert answer.exit_code == 2
    assert says in unframed(answer)


def test_designs_that_are_no_power_of_two_are_one_line(street: Path, weights: Path) -> None:
    seen, _ = answers_of(weights, street)
    answer = run(street, "--weights", weights, "--target", seen, "--designs", 24)
    assert answer.exit_code == 1
    assert answer.output.startswith("error: ") and "take 32" in answer.output
    assert answer.output.count("\n") == 1


def test_damaged_weights_of_depth_are_one_line(street: Path, tmp_path: Path) -> None:
    written(tmp_path / "bad.json", b"\n")
    bad = written(tmp_path / "bad.safetensors", b"\n")
    answer = run(street, "--task", "depth", "--intrinsics", CAMERA, "--weights", bad)
    assert answer.exit_code == 1
    assert "expected the card of a depth network" in answer.output
    assert answer.output.count("\n") == 1


def test_results_go_into_folders_only(street: Path, weights: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "file", b"mine")
    answer = run(street, "--out", file)
    assert answer.exit_code == 2 and "is a file" in unframed(answer)
    seen, _ = answers_of(weights, street)
    asked = ("--weights", weights, "--target", seen, "--method", "random", *QUICK)
    beyond = run(street, *asked, "--out", file / "results")
    assert beyond.exit_code == 1 and beyond.output.startswith("error: ")
    assert file.read_bytes() == b"mine"
