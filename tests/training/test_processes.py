"""One process, two, or one that is killed and gone on with: the same training, by every method."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.every_method import METHODS

SCRIPT = Path(__file__).parent / "every_method.py"
ROOT = Path(__file__).parents[2]
# Sums over the batch in another order: float32 rounds differently, and Adam's first steps turn
# that into more where a gradient is nearly zero.
LOSS_TOLERANCE = 1e-3  # relative, of every step
PATH_TOLERANCE = 0.02  # of the way that the parameters went


def run(folder: Path, *command: str) -> Path:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, *command[:-1], str(SCRIPT), str(folder), *filter(None, command[-1:])]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("alone"), "")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    port = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    return run(tmp_path_factory.mktemp("together"), *torchrun, *port, "")


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("resumed"), "killed")


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_learn_what_one_does(method: str, alone: Path, together: Path) -> None:
    one, two = (np.load(folder / f"{method}.npz") for folder in (alone, together))
    assert np.array_equal(one["before"], two["before"])
    assert len(one["losses"]) == len(two["losses"]) > 0
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=LOSS_TOLERANCE, atol=1e-6)
    way = np.linalg.norm(one["after"] - one["before"])
    assert way > 0
    assert np.linalg.norm(two["after"] - one["after"]) < PATH_TOLERANCE * way


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_ends_as_the_undisturbed_one(
    method: str, alone: Path, resumed: Path
) -> None:
    whole, rest = (np.load(folder / f"{method}.npz") for folder in (alone, resumed))
    assert 0 < len(rest["losses"]) < len(whole["losses"])
    assert np.array_equal(rest["after"], whole["after"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts on the CPU")
def test_a_batch_smaller_than_the_processes_is_refused() -> None:
    from ros_xai.training.distributed import Process
    from ros_xai.training.sharing import _sharing

    call = _sharing(lambda x: x, Process(rank=0, size=3))
    with pytest.raises(ValueError, match="a batch of 2 for 3 processes"):
        call(torch.zeros(2, 1))
