"""A replay of tracks in lock-step: repeatable, and judged as the offline evaluation judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.data import argoverse2
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.forecaster import Forecaster, predict
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import windows
from ros_xai.replay import from_av2
from ros_xai.replay.results import Results

FRAMES = 95  # six seconds ahead of the first three and a half


@pytest.mark.timeout(600)
def test_a_log_in_lock_step_is_judged_as_offline_and_alike_twice(
    data_dir: Path, tmp_path: Path
) -> None:
    log = argoverse2.read_log(next((data_dir / "av2").glob("adcf7d18*")))
    cut = replace(log, time=log.time[:FRAMES], xy=log.xy[:FRAMES], yaw=log.yaw[:FRAMES])
    assert from_av2.write(cut, tmp_path / "log.mcap") == FRAMES
    for run in ("first", "second"):
        options = ["--nodes", "forecasting", "--lockstep", "--out", str(tmp_path / run)]
        answer = CliRunner().invoke(app, ["replay", str(tmp_path / "log.mcap"), *options])
        assert answer.exit_code == 0, answer.output
    first, second = ((tmp_path / run / "metrics.json").read_bytes() for run in ("first", "second"))
    assert first == second

    found = Results(tmp_path / "first").judged_forecasts()
    assert found is not None
    replayed = evaluation.summary(found.scores())
    raster = from_av2.percent(rasterize(cut.map))
    exact = replace(cut, time=0.1 * np.arange(FRAMES), id=np.arange(len(cut.id)).astype(str))
    data = windows(exact, raster, ContextConfig())
    said = predict(Forecaster.load().network, data.features)
    offline = evaluation.summary(evaluation.score(said.modes, said.probabilities, data, raster))
    assert len(found.data) == len(data) > 50
    assert replayed == pytest.approx(offline, abs=1e-6, nan_ok=True)
    page = (tmp_path / "first" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4 and "Worst cases" in page
