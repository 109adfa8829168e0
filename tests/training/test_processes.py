"""One process, two, or one that is killed and gone on with: the same training, by every method."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ros_xai.segmentation.bundle import load_bundle
from tests.cli.test_train_segmentation import write_data
from tests.training.every_method import METHODS

pytestmark = pytest.mark.timeout(900)  # the first test waits for all trainings
SCRIPT = Path(__file__).parent / "every_method.py"
ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-7  # relative, in float64; in float32 rounding alone differs by up to a percent


def run(folder: Path, mode: str, *torchrun: str) -> Path:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, *torchrun, str(SCRIPT), str(folder), mode]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("alone"), "double")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    port = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    return run(tmp_path_factory.mktemp("together"), "double", *torchrun, *port)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("undisturbed"), "single")


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("resumed"), "killed")


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_learn_what_one_does(method: str, alone: Path, together: Path) -> None:
    one, two = (np.load(folder / f"{method}.npz") for folder in (alone, together))
    assert np.array_equal(one["before"], two["before"])
    assert len(one["losses"]) == len(two["losses"]) > 0
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=TOLERANCE)
    way = np.linalg.norm(one["after"] - one["before"])
    assert way > 0
    assert np.linalg.norm(two["after"] - one["after"]) < TOLERANCE * way


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_ends_as_the_undisturbed_one(
    method: str, undisturbed: Path, resumed: Path
) -> None:
    whole, rest = (np.load(folder / f"{method}.npz") for folder in (undisturbed, resumed))
    assert 0 < len(rest["losses"]) < len(whole["losses"])
    assert np.array_equal(rest["after"], whole["after"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts on the CPU")
def test_a_batch_smaller_than_the_processes_is_refused() -> None:
    from ros_xai.training.distributed import Process
    from ros_xai.training.sharing import _sharing

    call = _sharing(lambda x: x, Process(rank=0, size=3))
    with pytest.raises(ValueError, match="a batch of 2 for 3 processes"):
        call(torch.zeros(2, 1))


def test_the_command_runs_under_torchrun(tmp_path: Path) -> None:
    write_data(tmp_path / "data", ["road", "sky"])
    script = "from ros_xai.cli import app; app()"
    arguments = ["train", "segmentation", "--source", str(tmp_path / "data"), "--steps", "2"]
    arguments += ["--batch", "2", "--height", "64", "--width", "64"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--no-python"]
    command = [sys.executable, "-c", script, *arguments, "--out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, *command], capture_output=True, text=True, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("segmentation.safetensors: use it by") == 1  # the first one's files
    assert load_bundle(tmp_path / "out" / "segmentation.safetensors").provenance["steps"] == 2
