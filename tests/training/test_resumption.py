"""Whose checkpoint it is: a run goes on from its own and refuses any other's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ros_xai.data.depth import Loaded
from ros_xai.training import shipped_depth
from ros_xai.training.checkpoint import STATE, AnotherRun, digest
from ros_xai.training.depth_batches import Augmentation, Beams
from ros_xai.training.loop import LoopConfig, Metrics, fit
from tests.training.test_depth import RINGS, SHAPE, drive
from tests.training.test_loop import Line, batch, config


def run(
    folder: Path, loop: LoopConfig, start: float = 0.0, **about: object
) -> tuple[Line, Metrics]:
    model = Line()
    model.weight.data.fill_(start)
    return model, fit(model, batch, loop, folder, show=False, about=about)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"loop": config(10, seed=7)}, "seed 0 there, 7 asked"),
        ({"loop": replace(config(10), clip_norm=1.0)}, "clip_norm 10.0 there, 1.0 asked"),
        ({"method": "irm"}, "method vrex there, irm asked"),
        ({"widths": (8, 4)}, r"widths \[8, 8\] there, \[8, 4\] asked"),
        ({"start": 1.0}, "start weights [0-9a-f]{12} there, [0-9a-f]{12} asked"),
        ({"loop": config(9)}, "10 steps there, 9 asked"),
        ({"new": 1}, "new None there, 1 asked"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, changes, difference):
    asked = {"loop": config(10), "method": "vrex", "widths": (8, 8), "steps": 10}
    model, metrics = run(tmp_path, **asked)
    kept = (tmp_path / STATE).read_bytes()
    with pytest.raises(AnotherRun, match=rf"another run: {difference}; choose another --out"):
        run(tmp_path, **{**asked, **changes})
    assert (tmp_path / STATE).read_bytes() == kept
    again, same = run(tmp_path, **asked)
    assert torch.equal(again.weight, model.weight) and same == metrics


def test_a_checkpoint_that_does_not_say_whose_it_is_is_refused(tmp_path):
    run(tmp_path, config(10))
    state = json.loads((tmp_path / STATE).read_text())
    del state["run"]
    (tmp_path / STATE).write_text(json.dumps(state))
    with pytest.raises(AnotherRun, match="seed None there, 0 asked"):
        run(tmp_path, config(10))


TENSORS = "step_00000010.safetensors"


@pytest.mark.parametrize(
    ("name", "left"), [(STATE, b""), (STATE, b'{"step": '), (TENSORS, b"cut"), (TENSORS, None)]
)
def test_a_damaged_checkpoint_is_told(tmp_path, name, left):
    run(tmp_path, config(10))
    (tmp_path / name).unlink()
    if left is not None:
        (tmp_path / name).write_bytes(left)
    with pytest.raises(ValueError, match="damaged checkpoint, remove it"):
        run(tmp_path, config(10))


def test_what_a_killed_run_logged_after_its_checkpoint_is_not_logged_twice(tmp_path):
    loop = replace(config(20), log_every=2, checkpoint_every=10)

    def killed(step: int) -> bool:
        if step == 17:
            raise KeyboardInterrupt
        return False

    for folder in (tmp_path / "whole", tmp_path / "cut"):
        if folder.name == "cut":
            with pytest.raises(KeyboardInterrupt):
                fit(Line(), batch, loop, folder, after_step=killed, show=False)
            with (folder / "log.jsonl").open("a") as log:
                log.write('{"step": 1')  # as a power cut leaves it
        fit(Line(), batch, loop, folder, show=False)
    whole, cut = ((tmp_path / name / "log.jsonl").read_text() for name in ("whole", "cut"))
    assert cut == whole


def test_a_finished_run_may_be_lengthened_and_written_more_often(tmp_path):
    run(tmp_path, config(10), steps=10)
    longer = replace(config(20), log_every=1, checkpoint_every=1)
    run(tmp_path, longer, steps=20)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 10, *range(11, 21)]


def test_a_digest_tells_values_types_shapes_and_order_apart():
    a, b = np.arange(6, dtype=np.uint8), np.ones(6, np.uint8)
    others = [(b, a), (a + 1, b), (a.astype(np.int8), b), (a.reshape(2, 3), b), (a,), ()]
    assert len({digest(*arrays) for arrays in [(a, b), *others]}) == 7
    transposed = np.asfortranarray(a.reshape(2, 3))
    assert digest(transposed) == digest(a.reshape(2, 3))


def test_the_depth_network_of_other_drives_or_beams_is_another(tmp_path):
    shipped = replace(
        shipped_depth.ShippedConfig(),
        augmentation=Augmentation(*SHAPE),
        beams=Beams(RINGS),
        loop=LoopConfig(1),
        batch=1,
    )
    wall = drive(3)
    shipped_depth.train([wall], tmp_path, shipped, show=False)
    for drives, asked, difference in (
        ([Loaded("wall", wall.samples[::-1])], shipped, "drives"),
        ([wall, wall], shipped, "drives"),
        ([wall], replace(shipped, beams=Beams(RINGS[:2])), "beams"),
    ):
        with pytest.raises(AnotherRun, match=f"another run: {difference} .* there, .* asked"):
            shipped_depth.train(drives, tmp_path, asked, show=False)
    shipped_depth.train([wall], tmp_path, replace(shipped, loop=LoopConfig(2)), show=False)
