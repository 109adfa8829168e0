"""The shared loop: exact resumption, atomic files, distributed runs, early stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ros_xai.training.checkpoint import load_checkpoint, save_checkpoint
from ros_xai.training.early_stop import EarlyStop
from ros_xai.training.loop import LoopConfig, fit, generator, learning_rate


class Line(nn.Module):
    """y = w x, whose data are y = 3 x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return {"loss": ((self.weight * batch["x"] - 3 * batch["x"]) ** 2).mean()}


def batch(rng: np.random.Generator):
    return {"x": torch.from_numpy(rng.normal(size=8).astype(np.float32))}


def config(steps: int, **changes) -> LoopConfig:
    return LoopConfig(steps, learning_rate=0.1, checkpoint_every=5, log_every=5, **changes)


def test_the_line_is_found(tmp_path):
    model = Line()
    metrics = fit(model, batch, config(200), tmp_path, show=False)
    assert model.weight.item() == pytest.approx(3, abs=0.05)
    assert metrics["loss"] < 1e-2


def test_a_run_cut_in_two_is_the_run_in_one(tmp_path):
    whole, halves = Line(), Line()
    fit(whole, batch, config(20), tmp_path / "whole", show=False)
    fit(halves, batch, config(20), tmp_path / "cut", after_step=lambda s: s == 10, show=False)
    resumed = Line()
    fit(resumed, batch, config(20), tmp_path / "cut", show=False)
    assert torch.equal(whole.weight, resumed.weight)
    lines = (tmp_path / "cut" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 10, 15, 20]


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = Line()
    metrics = fit(first, batch, config(10), tmp_path, show=False)
    again = Line()
    assert fit(again, batch, config(10), tmp_path, show=False) == metrics
    assert torch.equal(first.weight, again.weight)


class Burst(Line):
    """A slope of 0.001, and of 1 at the last of 600 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.path = []

    def forward(self, batch):
        self.path.append(self.weight.item())
        return {"loss": self.weight.sum() * (1.0 if len(self.path) == 600 else 1e-3)}


@pytest.mark.parametrize("beta2", [0.99, 0.9])
def test_a_burst_after_a_quiet_time_moves_a_weight_as_far_as_beta2_says(tmp_path, beta2):
    model = Burst()
    loop = LoopConfig(600, learning_rate=1e-3, final_rate=1.0, weight_decay=0.0, beta2=beta2)
    fit(model, batch, loop, tmp_path, show=False)
    moved = model.path[-1] - model.weight.item()
    assert moved == pytest.approx(1e-3 * (1 - 0.9) / (1 - beta2) ** 0.5, rel=0.02)


def test_ranks_and_steps_see_different_numbers_and_seeds_repeat():
    draws = {(s, r): generator(0, s, r).random() for s in range(3) for r in range(3)}
    assert len(set(draws.values())) == 9
    assert generator(0, 2, 1).random() == draws[2, 1]


def test_rate_warms_up_and_falls_to_its_share():
    c = LoopConfig(100, learning_rate=1.0, warm_up=10, final_rate=0.1)
    rates = [learning_rate(c, step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert max(rates) == pytest.approx(1.0)
    assert learning_rate(c, 55) == pytest.approx((1 + 0.1) / 2)
    assert learning_rate(c, 100) == pytest.approx(0.1)


def test_a_loss_that_is_not_finite_stops_with_its_terms(tmp_path):
    def bad(rng):
        return {"x": torch.full((2,), float("nan"))}

    with pytest.raises(FloatingPointError, match="loss"):
        fit(Line(), bad, config(3), tmp_path, show=False)


def test_checkpoint_restores_module_and_optimizer_without_pickles(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path, 7, model, optimizer, note="kept")
    save_checkpoint(tmp_path, 8, model, optimizer, note="kept")
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other_optimizer = torch.optim.Adam(other.parameters(), lr=0.5)
    state = load_checkpoint(tmp_path, other, other_optimizer)
    assert (state["step"], state["note"]) == (8, "kept")
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    ours, theirs = optimizer.state_dict(), other_optimizer.state_dict()
    assert ours["param_groups"][0]["lr"] == theirs["param_groups"][0]["lr"] == 0.01
    for slot in ("exp_avg", "exp_avg_sq", "step"):
        assert torch.equal(ours["state"][0][slot], theirs["state"][0][slot])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step_00000008.safetensors"]


def test_no_checkpoint_is_none(tmp_path):
    model = Line()
    assert load_checkpoint(tmp_path, model, torch.optim.Adam(model.parameters())) is None


def test_early_stop_keeps_the_best_and_stops(tmp_path):
    model, scores = Line(), iter([5.0, 4.0, 1.0, 2.0, 3.0, 0.5])
    stop = EarlyStop(model, lambda: next(scores), tmp_path, every=2, last=100, patience=2)
    answers = []
    for step in range(1, 9):
        model.weight.data.fill_(step)
        answers.append(stop(step))
    assert answers == [False] * 7 + [True]
    assert stop.restore_best() == 1.0
    assert model.weight.item() == 4


def test_early_stop_judges_the_last_step_too(tmp_path):
    model, scores = Line(), iter([5.0, 4.0, 3.0])
    stop = EarlyStop(model, lambda: next(scores), tmp_path, every=2, last=3, patience=2)
    for step in range(1, 4):
        model.weight.data.fill_(step)
        stop(step)
    assert stop.restore_best() == 3.0
    assert model.weight.item() == 3


def test_early_stop_returns_the_start_when_training_only_harms(tmp_path):
    model, scores = Line(), iter([1.0, 2.0, 3.0])
    stop = EarlyStop(model, lambda: next(scores), tmp_path, every=1, last=9, patience=2)
    model.weight.data.fill_(9)
    assert [stop(1), stop(2)] == [False, True]
    stop.restore_best()
    assert model.weight.item() == 0


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_early_stop_refuses_a_score_that_nothing_is_better_than(tmp_path, score):
    with pytest.raises(FloatingPointError, match="the score after 0 steps is"):
        EarlyStop(Line(), lambda: score, tmp_path, every=1, last=9, patience=2)


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_loop import Line, batch, config
from ros_xai.training.distributed import process_group
from ros_xai.training.loop import fit
import torch
torch.set_num_threads(1)
with process_group() as process:
    model = Line()
    pause = lambda step: bool(time.sleep({pause}))
    fit(model, batch, config({steps}), Path({out!r}), process, pause, show=False)
    print("rank", process.rank, "of", process.size, model.weight.item(), flush=True)
"""


def script(tmp_path: Path, steps: int, pause: float) -> Path:
    file = tmp_path / "run.py"
    folder = str(Path(__file__).parent)
    out = str(tmp_path / "out")
    file.write_text(SCRIPT.format(folder=folder, out=out, steps=steps, pause=pause))
    return file


def test_a_killed_run_goes_on_from_a_whole_checkpoint(tmp_path):
    file = script(tmp_path, 60, 0.02)
    process = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE)
    state = tmp_path / "out" / "state.json"
    deadline = time.monotonic() + 60
    while not state.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    cut = json.loads(state.read_text())["step"]
    assert 0 < cut < 60
    assert (tmp_path / "out" / json.loads(state.read_text())["tensors"]).is_file()
    resumed, whole = Line(), Line()
    fit(resumed, batch, config(60), tmp_path / "out", show=False)
    fit(whole, batch, config(60), tmp_path / "whole", show=False)
    assert torch.equal(resumed.weight, whole.weight)


def test_two_processes_by_torchrun_agree(tmp_path):
    file = script(tmp_path, 10, 0.0)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, *port, str(file)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stderr
    lines = sorted(line.split() for line in result.stdout.splitlines() if line.startswith("rank"))
    assert [line[1] for line in lines] == ["0", "1"]
    assert lines[0][4] == lines[1][4]
    alone = Line()
    fit(alone, batch, config(10), tmp_path / "alone", show=False)
    assert float(lines[0][4]) == pytest.approx(alone.weight.item(), rel=1e-6)
