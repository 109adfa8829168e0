"""The real logs: known figures of physics forecasts, and geometry that only right frames give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ros_xai.data import argoverse2
from ros_xai.data.forecasting import STEP, Recording
from ros_xai.forecasting.baselines import (
    constant_acceleration,
    constant_turn_rate,
    constant_velocity,
)

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

# Windows, then ADE / FDE at 6 s of constant velocity, acceleration, turn rate: as measured
# independently and noted in the data's README.
FIGURES = {
    "3b3570b4": (352, 3.78, 9.07, 4.00, 11.04, 3.89, 9.67),
    "7fab2350": (229, 3.39, 8.29, 3.61, 9.94, 3.47, 8.63),
    "adcf7d18": (117, 5.40, 12.61, 4.26, 12.01, 5.37, 13.37),
}


def _log(data_dir: Path, start: str) -> Recording:
    return argoverse2.read_log(next((data_dir / "av2").glob(f"{start}*")))


@pytest.mark.parametrize("start", FIGURES)
def test_physics_forecasts_have_the_known_errors(data_dir: Path, start: str) -> None:
    past, future = [], []
    for scene in _log(data_dir, start).scenes():
        kept = scene.complete() & scene.moving() & scene.forecastable()
        past.append(scene.tracks.xy[kept])
        future.append(scene.future[kept])
    xy, truth = np.concatenate(past), np.concatenate(future)
    measured: list[float] = [len(xy)]
    for model in (constant_velocity, constant_acceleration, constant_turn_rate):
        error = np.linalg.norm(model(xy, STEP, 12) - truth, axis=-1)
        measured += [float(error.mean()), float(error[:, -1].mean())]
    assert measured == pytest.approx(FIGURES[start], abs=0.0051)


def test_moving_vehicles_drive_where_their_boxes_point_and_on_the_drivable_area(
    data_dir: Path,
) -> None:
    from shapely import contains_xy, unary_union
    from shapely.geometry import Polygon

    recording = _log(data_dir, "3b3570b4")
    vehicles = recording.category == "vehicle"
    xy, yaw = recording.xy[:, vehicles], recording.yaw[:-5, vehicles]
    motion = xy[5:] - xy[:-5]
    fast = np.linalg.norm(motion, axis=-1) > 2.5
    across = np.arctan2(motion[..., 1], motion[..., 0])[fast] - yaw[fast]
    assert np.median(np.abs(np.sin(across))) < 0.03
    road = unary_union([Polygon(area) for area in recording.map.drivable])
    assert contains_xy(road, *xy[5:][fast].T).mean() > 0.97


def test_crossings_are_outlines_that_do_not_cross_themselves(data_dir: Path) -> None:
    from shapely.geometry import Polygon

    crossings = _log(data_dir, "3b3570b4").map.crossings
    assert len(crossings) > 3
    assert all(Polygon(crossing).is_valid for crossing in crossings)


def test_the_forecasting_scenario_is_consistent_with_its_own_velocities(data_dir: Path) -> None:
    folder = next((data_dir / "av2").glob("forecasting_*"))
    recording = argoverse2.read_scenario(folder)
    assert recording.xy.shape[0] == 110
    assert np.diff(recording.time) == pytest.approx(0.1)
    speed = np.linalg.norm(np.diff(recording.xy, axis=0), axis=-1) / 0.1
    columns = argoverse2._columns(next(folder.glob("scenario_*.parquet")))
    focal = columns["track_id"] == columns["focal_track_id"][0]
    stated = np.hypot(columns["velocity_x"][focal], columns["velocity_y"][focal])
    ours = speed[:, recording.id == columns["focal_track_id"][0]][:, 0]
    assert np.median(np.abs(ours - stated[1:])) < 0.3
    assert sum(len(layer) for layer in vars(recording.map).values()) > 20


@pytest.mark.parametrize("stamps", [[0, 2], [0, 0], [2, 2]])
def test_a_sweep_without_a_pose_is_named(tmp_path: Path, stamps: list[int]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    quaternion = {"qw": [1.0], "qx": [0.0], "qy": [0.0], "qz": [0.0]}
    place = {"tx_m": [0.0], "ty_m": [0.0], "tz_m": [0.0]}
    box = {"timestamp_ns": [1], "track_uuid": ["a"], "category": ["BUS"], **quaternion, **place}
    parquet.write_table(pa.table(box), tmp_path / "annotations.parquet")
    pose = {"timestamp_ns": stamps, **{k: v * 2 for k, v in {**quaternion, **place}.items()}}
    parquet.write_table(pa.table(pose), tmp_path / "city_SE3_egovehicle.parquet")
    with pytest.raises(ValueError, match="no pose"):
        argoverse2.read_log(tmp_path)


def test_files_of_something_else_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with pytest.raises(FileNotFoundError, match="expected a log or scenario"):
        argoverse2.read_log(tmp_path)
    parquet.write_table(pa.table({"timestamp_ns": [1]}), tmp_path / "annotations.parquet")
    with pytest.raises(ValueError, match="lacks category, qw"):
        argoverse2.read_log(tmp_path)
    for content in ("{}", "[]", '{"lane_segments": {"1": {}}}', "no json"):
        (tmp_path / "map.json").write_text(content)
        with pytest.raises(ValueError, match=r"map of Argoverse 2|Expecting value"):
            argoverse2.read_map(tmp_path / "map.json")
