"""`ros_xai train forecasting` with a small recipe: weights with their card, and refusals."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ros_xai.cli.train_forecasting import forecasting
from ros_xai.forecasting import objectives
from ros_xai.forecasting.network import NetworkConfig
from ros_xai.training import forecasting as training
from ros_xai.training import shipped_forecasting as shipped

app = typer.Typer()
app.command()(forecasting)
SMALL = NetworkConfig(modes=3, block=8, decoder=8, map_channels=(4, 4, 4))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = functools.partial(
        shipped.ShippedConfig, seconds=12.0, windows_per_recording=50, network=SMALL
    )
    monkeypatch.setattr(shipped, "ShippedConfig", recipe)


def train(out: Path, *arguments: object) -> Result:
    small = ["--steps", 2, "--recordings", 1, "--out", out]
    return CliRunner().invoke(app, [str(a) for a in (*small, *arguments)])


def test_weights_come_with_the_card_of_their_own_run(tmp_path):
    done = train(tmp_path)
    assert done.exit_code == 0, done.output
    card = tmp_path / "forecasting.json"
    assert json.loads(card.read_text())["recipe"]["objective"] == "cab"
    kept = card.read_bytes()
    for arguments, difference in (
        (("--objective", "base"), "objective cab there, base asked"),
        (("--seed", 7), "seed 0 there, 7 asked"),
        (("--steps", 1), "2 steps there, 1 asked"),
    ):
        other = train(tmp_path, *arguments)
        assert other.exit_code == 1 and "holds another run" in other.output, other.output
        assert difference in other.output and card.read_bytes() == kept
    assert train(tmp_path).exit_code == 0 and card.read_bytes() == kept


def test_what_cannot_be_done_is_said(tmp_path, monkeypatch):
    negative = train(tmp_path, "--seed", -1)
    assert negative.exit_code == 2 and "--seed" in negative.output
    assert train(tmp_path, "--objective", "magic").exit_code == 2

    def endless(branches, weights):
        return objectives.base(branches, weights) * float("inf")

    monkeypatch.setitem(training.OBJECTIVES, "base", endless)
    diverged = train(tmp_path, "--objective", "base")
    assert diverged.exit_code == 1 and "error: the loss is not finite" in diverged.output
