"""One process, two, or one that is killed and gone on with: the same generators."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ros_xai.training.checkpoint import AnotherRun
from ros_xai.training.generation import ImageRecipe, ImageTrainer
from ros_xai.training.layout import LayoutRecipe, LayoutTrainer
from tests.generation.test_images import SMALL as IMAGE
from tests.generation.test_images import streets
from tests.generation.test_layouts import PALETTES, bands
from tests.generation.test_layouts import SMALL as LAYOUT

SCRIPT = Path(__file__).parent / "train_generators.py"
ROOT = Path(__file__).parents[2]
TOGETHER = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
PORT = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
NETWORKS = ("layout", "image")


def run(folder: Path, *words: str, torchrun: tuple[str, ...] = ()) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *torchrun, str(SCRIPT), str(folder), *words]
    return subprocess.run(command, env=environment, timeout=280).returncode


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    assert run(folder) == 0
    return folder


def same(one: Path, two: Path, name: str) -> bool:
    a, b = (np.load(folder / f"{name}.npz") for folder in (one, two))
    return len(a.files) > 0 and all(np.array_equal(a[key], b[key]) for key in a.files)


def test_a_killed_training_ends_as_the_undisturbed_one(alone: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "5") == -signal.SIGKILL
    assert (tmp_path / "image" / "state.json").is_file()
    assert run(tmp_path) == 0
    assert all(same(alone, tmp_path, name) for name in NETWORKS)


def test_two_processes_learn_what_one_does(alone: Path, tmp_path: Path) -> None:
    assert run(tmp_path, torchrun=(*TOGETHER, *PORT)) == 0
    assert all(same(alone, tmp_path, name) for name in NETWORKS)


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    layouts, images = LayoutRecipe(LAYOUT, steps=(1, 1), batch=2), ImageRecipe(IMAGE, 1, batch=1)

    def layout(recipe: LayoutRecipe, count: int) -> None:
        LayoutTrainer(recipe, bands(count), PALETTES).train(tmp_path / "layout", show=False)

    def image(recipe: ImageRecipe, count: int) -> None:
        ImageTrainer(recipe, None, streets(count)).train(tmp_path / "image", show=False)

    for train, recipe in ((layout, layouts), (image, images)):
        train(recipe, 4)
        train(recipe, 4)
        with pytest.raises(AnotherRun, match=r"rate \S+ there, 0.1 asked"):
            train(replace(recipe, rate=0.1), 4)
        with pytest.raises(AnotherRun, match="there"):
            train(recipe, 6)
