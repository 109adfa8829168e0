"""The public class: same numbers as the offline path, in the map's frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ros_xai.data.forecasting import Recording, Scene, Tracks
from ros_xai.forecasting.features import ContextConfig
from ros_xai.forecasting.forecaster import Forecaster, predict
from ros_xai.forecasting.network import Network, NetworkConfig
from ros_xai.forecasting.raster import MapRaster, rasterize
from ros_xai.forecasting.windows import windows


@pytest.fixture
def forecaster() -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(Network(NetworkConfig()), quiet=0.02)


@pytest.fixture
def scene(recording: Recording) -> Scene:
    return list(recording.scenes())[6]


def test_it_forecasts_as_the_offline_evaluation_does(
    forecaster: Forecaster, scene: Scene, recording: Recording, raster: MapRaster
) -> None:
    forecast = forecaster(scene.tracks, raster)
    data = windows(recording, raster, ContextConfig())
    now = data[np.isclose(data.time, scene.time)]
    offline = predict(forecaster.network, now.features)
    assert [f"{recording.name}/{name}" for name in forecast.id] == list(now.agent)
    assert forecast.modes == pytest.approx(now.in_map(offline.modes), abs=1e-4)
    assert forecast.probabilities == pytest.approx(offline.probabilities, abs=1e-6)
    assert forecast.probabilities.sum(axis=1) == pytest.approx(1)


def test_covariances_turn_with_the_frame(forecaster: Forecaster, scene: Scene) -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    tracks = scene.tracks
    assert tracks.recent is not None
    turned = replace(
        tracks,
        xy=tracks.xy @ quarter.T,
        yaw=tracks.yaw + np.pi / 2,
        recent=tracks.recent @ quarter.T,
    )
    empty = MapRaster(np.zeros((4, 4, 3), dtype=np.uint8), np.array([9e3, 9e3]), 0.5)
    ours, theirs = forecaster(tracks, empty), forecaster(turned, empty)
    assert theirs.modes == pytest.approx(ours.modes @ quarter.T, abs=1e-3)
    expected = quarter @ ours.covariances @ quarter.T
    assert theirs.covariances == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_pedestrians_are_context_only(
    forecaster: Forecaster, scene: Scene, raster: MapRaster
) -> None:
    forecast = forecaster(scene.tracks, raster)
    walks = scene.tracks.category == "pedestrian"
    assert walks.any()
    assert set(forecast.id) == set(scene.tracks.id[~walks])
    without = Tracks(*(column[~walks] for column in vars(scene.tracks).values()))
    assert not np.allclose(forecaster(without, raster).modes, forecast.modes)


def test_an_agent_alone_off_the_map_is_told_to_ignore_its_context(
    forecaster: Forecaster, raster: MapRaster
) -> None:
    xy = np.array([[[x, 0.0] for x in range(5)], [[x, 900.0] for x in range(5)]])
    yaw = np.zeros((2, 5))
    tracks = Tracks(np.array(["on", "off"]), np.array(["vehicle", "vehicle"]), xy, yaw)
    forecast = forecaster(tracks, raster)
    assert forecast.divergence[1] == pytest.approx(0, abs=1e-6)
    assert forecast.divergence[0] > 5e-6
    assert forecast.ignores_context[1]


def test_no_tracks_give_no_forecasts(forecaster: Forecaster, raster: MapRaster) -> None:
    none = Tracks(np.zeros(0, str), np.zeros(0, str), np.zeros((0, 5, 2)), np.zeros((0, 5)))
    forecast = forecaster(none, raster)
    assert forecast.modes.shape == (0, 6, 12, 2)
    assert forecast.attribution.shape == (0, 3)


def test_another_map_is_noticed(
    forecaster: Forecaster, scene: Scene, recording: Recording, raster: MapRaster
) -> None:
    first = forecaster(scene.tracks, raster)
    wider = replace(recording.map, drivable=(recording.map.drivable[0] * [1, 3],))
    assert not np.allclose(forecaster(scene.tracks, rasterize(wider)).modes, first.modes)
    assert np.array_equal(forecaster(scene.tracks, raster).modes, first.modes)


def test_a_saved_forecaster_is_the_same_one(
    forecaster: Forecaster, scene: Scene, raster: MapRaster, tmp_path: Path
) -> None:
    forecaster.save(tmp_path / "cab.safetensors")
    loaded = Forecaster.load(tmp_path / "cab.safetensors")
    assert loaded.quiet == 0.02
    assert loaded.network.config == forecaster.network.config
    assert np.array_equal(
        loaded(scene.tracks, raster).modes, forecaster(scene.tracks, raster).modes
    )


def test_weights_of_another_network_are_refused_by_name(
    forecaster: Forecaster, tmp_path: Path
) -> None:
    path = tmp_path / "cab.safetensors"
    forecaster.save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"cab\.safetensors: expected weights of a forecaster"):
        Forecaster.load(path)
