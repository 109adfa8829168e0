"""`ros_xai explain --task forecasting` from a recording to files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

import ros_xai
from ros_xai.cli.explain import explain
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.forecasting.network import Network, NetworkConfig

app = typer.Typer()
app.command()(explain)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of two cars on a road along x, one 15 m ahead of the other, and a walker."""
    folder = tmp_path_factory.mktemp("world")
    time = np.arange(51) * 0.1
    start = np.array([[0.0, 0.0], [15.0, 0.0], [5.0, 6.0]])
    speed = np.array([8.0, 8.0, 1.0])
    xy = start + time[:, None, None] * speed[:, None] * [1.0, 0.0]
    np.savez(
        folder / "traffic_0000.npz",
        time=time,
        id=np.arange(3),
        category=np.array(["car", "car", "pedestrian"]),
        xy=xy,
        yaw=np.zeros(xy.shape[:2]),
    )
    road = [[-100.0, -4.0], [200.0, -4.0], [200.0, 4.0], [-100.0, 4.0]]
    record = {"drivable": [road], "dividers": [[[-100.0, 0.0], [200.0, 0.0]]], "crossings": []}
    (folder / "map_0000.json").write_text(json.dumps(record))
    return folder / "traffic_0000.npz"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    network = Network(NetworkConfig(block=8, decoder=12))
    with torch.no_grad():
        network.decoder.start.weight.mul_(4)
    path = tmp_path_factory.mktemp("weights") / "forecaster.safetensors"
    Forecaster(network).save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def unframed(answer: Result) -> str:
    """The output without the lines and breaks of its frame."""
    return " ".join(answer.output.replace("│", " ").split())


def asked(recording: Path, weights: Path, out: Path, *more: object) -> Result:
    options = ("--task", "forecasting", "--weights", weights, "--out", out, "--designs", 4)
    return run(recording, *options, *more)


def test_a_forecast_by_its_map(recording: Path, weights: Path, tmp_path: Path) -> None:
    answer = asked(recording, weights, tmp_path, "--target", "0", "--grid", "8x6")
    assert answer.exit_code == 0, answer.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["forwards"] == 4 * 49
    assert figures["deletion"] < 1  # a map that is removed moves the end point
    cells = np.load(tmp_path / "cells.npy")
    assert cells.shape == (8, 6)
    # the road runs along the two middle columns; elsewhere is nothing to remove
    assert cells[:, 2:4].sum() > 0 and not cells[:, [0, 5]].any()
    assert cv2.imread(str(tmp_path / "overlay.png")).shape == (6 * 64, 6 * 48, 3)


def test_a_forecast_by_its_neighbours(recording: Path, weights: Path, tmp_path: Path) -> None:
    answer = asked(recording, weights, tmp_path, "--target", "0", "--by", "neighbours", "--at", 3)
    assert answer.exit_code == 0, answer.output
    cells = np.load(tmp_path / "cells.npy")
    assert cells.shape == (8, 1)
    assert (cells[:2] > 0).all() and not cells[2:].any()  # a car, a walker and nobody else
    rings = cv2.imread(str(tmp_path / "overlay.png"))
    # 15 m ahead: 37 m from the upper edge, in the middle column
    assert (rings[6 * 37, 6 * 24] == 255).all()


def test_main_effects_of_neighbours(recording: Path, weights: Path, tmp_path: Path) -> None:
    more = ("--target", "0", "--by", "neighbours", "--at", 3, "--method", "effects")
    answer = asked(recording, weights, tmp_path, *more)
    assert answer.exit_code == 0, answer.output
    cells = np.abs(np.load(tmp_path / "cells.npy"))
    assert cells[:2].max() > 0.1 and cells[2:].max() < 1e-6


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--target", "2"), "expected a vehicle or two-wheeler"),
        (("--target", "0", "--by", "lidar"), "expected one of map, neighbours"),
        (("--target", "0", "--at", "nan"), "expected seconds"),
        (("--target", "0", "--by", "neighbours", "--method", "rise"), "mean nothing"),
    ],
)
def test_what_cannot_be_asked_is_named(
    recording: Path, weights: Path, tmp_path: Path, more: tuple[str, ...], says: str
) -> None:
    answer = asked(recording, weights, tmp_path, *more)
    assert answer.exit_code == 2
    assert says in unframed(answer)


def test_recordings_and_weights_that_are_none_are_named(
    recording: Path, weights: Path, tmp_path: Path
) -> None:
    other = Path(ros_xai.__file__).parent / "weights" / "depth.safetensors"
    answer = asked(recording, other, tmp_path / "out", "--target", "0")
    assert answer.exit_code == 2 and "expected weights of a forecaster" in unframed(answer)
    for name, content in (("traffic_0001.npz", b"PK\3\4"), ("traffic_0002.npz", b"\n")):
        (tmp_path / name).write_bytes(content)
        answer = asked(tmp_path / name, weights, tmp_path / "out", "--target", "0")
        assert answer.exit_code == 2 and "no recording" in unframed(answer)
    np.savez(tmp_path / "traffic_0003.npz", time=np.arange(3))
    (tmp_path / "map_0003.json").write_text("{}")
    answer = asked(tmp_path / "traffic_0003.npz", weights, tmp_path / "out", "--target", "0")
    assert answer.exit_code == 2 and "no recording" in unframed(answer)
    answer = asked(tmp_path, weights, tmp_path / "out", "--target", "0")
    assert answer.exit_code == 2 and "no folder of Argoverse 2" in unframed(answer)
