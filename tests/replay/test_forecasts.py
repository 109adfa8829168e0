"""A replay of tracks in lock-step: repeatable, and judged as the offline evaluation judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.core.geometry import pose
from ros_xai.data import argoverse2
from ros_xai.data.forecasting import HORIZON, Recording, VectorMap
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.forecaster import Forecaster, predict
from ros_xai.forecasting.raster import rasterize
from ros_xai.forecasting.windows import windows
from ros_xai.replay import from_av2
from ros_xai.replay.results import Results
from ros_xai.world.bag_writer import BagWriter, Marker

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


def _cars(stamps: np.ndarray, path: Path) -> Recording:
    """Three cars side by side at 10 m/s, seen at `stamps` (ns); as a bag and as a recording.

    In the bag there is one message more, late by a fifth of a second.
    """
    time = (stamps - stamps[0]) * 1e-9
    with BagWriter(path) as bag:
        for stamp, t in zip(stamps.tolist(), time):
            places = [pose(np.eye(3), [10 * t, 4.0 * a, 0.8]) for a in range(3)]
            size = from_av2.SIZES["vehicle"]
            cars = [Marker(a, "vehicle", T, size) for a, T in enumerate(places)]
            bag.markers("/tracks", stamp, "map", cars)
            if stamp == stamps[60]:
                bag.markers("/tracks", int(stamps[57]), "map", cars, log_ns=stamp + 1)
    xy = np.stack(np.broadcast_arrays(10 * time[:, None], 4.0 * np.arange(3)), axis=-1)
    category, nothing = np.array(["vehicle"] * 3), VectorMap((), (), ())
    return Recording("bag", time, np.arange(3).astype(str), category, xy, 0 * xy[..., 0], nothing)


def test_a_bag_of_15_hz_with_lost_and_late_frames_is_judged_at_the_right_times(
    tmp_path: Path,
) -> None:
    frames = np.delete(np.arange(160), [47, 80, 81])
    stamps = from_av2.START_NS + np.rint(frames / 15e-9).astype(int)
    recording = _cars(stamps, tmp_path / "cars.mcap")
    options = ["--nodes", "forecasting", "--lockstep", "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, ["replay", str(tmp_path / "cars.mcap"), *options])
    assert answer.exit_code == 0, answer.output

    found = Results(tmp_path / "out").judged_forecasts()
    assert found is not None and found.data.scored.sum() == 3 * 6  # cars, instants
    truth = found.data.future[found.data.scored]
    assert truth[..., 0] == pytest.approx(np.tile(5.0 * np.arange(1, HORIZON + 1), (len(truth), 1)))
    data = windows(recording, found.raster, ContextConfig())
    said = predict(Forecaster.load().network, data.features)
    offline = evaluation.summary(
        evaluation.score(said.modes, said.probabilities, data, found.raster)
    )
    assert len(found.data) == len(data)
    replayed = evaluation.summary(found.scores())
    assert replayed == pytest.approx(offline, abs=1e-6, nan_ok=True)
