"""Argoverse 2 (Wilson et al., NeurIPS 2021): sensor logs and motion-forecasting scenarios.

Positions come in the city frame. Needs pyarrow, of the extra `forecasting`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ros_xai.data.forecasting import (
    PEDESTRIAN,
    TRAILER,
    TWO_WHEELER,
    VEHICLE,
    Recording,
    VectorMap,
    table,
)

# The ego vehicle, which some logs annotate, is no track of its own perception; what stands by
# nature (cones, signs, bollards) is left out too.
_LOG_CATEGORIES = {
    **dict.fromkeys(
        [
            "REGULAR_VEHICLE", "LARGE_VEHICLE", "BOX_TRUCK", "TRUCK", "BUS", "SCHOOL_BUS",
            "ARTICULATED_BUS",
        ],
        VEHICLE,
    ),
    **dict.fromkeys(["TRUCK_CAB", "VEHICULAR_TRAILER"], TRAILER),
    **dict.fromkeys(
        [
            "BICYCLE", "BICYCLIST", "MOTORCYCLE", "MOTORCYCLIST", "WHEELED_DEVICE",
            "WHEELED_RIDER",
        ],
        TWO_WHEELER,
    ),
    **dict.fromkeys(["PEDESTRIAN", "STROLLER", "WHEELCHAIR"], PEDESTRIAN),
}  # fmt: skip
_SCENARIO_CATEGORIES = {
    "vehicle": VEHICLE,
    "bus": VEHICLE,
    "motorcyclist": TWO_WHEELER,
    "cyclist": TWO_WHEELER,
    "pedestrian": PEDESTRIAN,
}

_POSE = ("timestamp_ns", "qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_SCENARIO = (
    "object_type", "track_id", "num_timestamps", "timestep", "position_x", "position_y", "heading",
)  # fmt: skip


def read_log(folder: Path) -> Recording:
    """The tracked agents of a sensor log at its 10 Hz, time in seconds from its first sweep.

    `folder` holds annotations.parquet, city_SE3_egovehicle.parquet and map.json.

    Raises:
        FileNotFoundError: a file is missing. ValueError: it is of something else, or not whole.
    """
    boxes = _columns(folder / "annotations.parquet", *_POSE, "track_uuid", "category")
    poses = _columns(folder / "city_SE3_egovehicle.parquet", *_POSE)
    kept = np.isin(boxes["category"], list(_LOG_CATEGORIES))
    boxes = {name: column[kept] for name, column in boxes.items()}

    ego = np.searchsorted(poses["timestamp_ns"], boxes["timestamp_ns"])
    ego = ego.clip(max=len(poses["timestamp_ns"]) - 1)  # a sweep after the last pose has none
    if not np.array_equal(poses["timestamp_ns"][ego], boxes["timestamp_ns"]):
        raise ValueError(f"{folder}: some annotated sweeps have no pose of the ego vehicle")
    R_city_ego = Rotation.from_quat(_stack(poses, "qx", "qy", "qz", "qw"))[ego]
    R_ego_box = Rotation.from_quat(_stack(boxes, "qx", "qy", "qz", "qw"))
    position = R_city_ego.apply(_stack(boxes, "tx_m", "ty_m", "tz_m"))
    position += _stack(poses, "tx_m", "ty_m", "tz_m")[ego]
    forward = (R_city_ego * R_ego_box).apply([1.0, 0.0, 0.0])

    stamps, frame = np.unique(boxes["timestamp_ns"], return_inverse=True)
    ids, first, agent = np.unique(boxes["track_uuid"], return_index=True, return_inverse=True)
    shape = (len(stamps), len(ids))
    return Recording(
        name=folder.name,
        time=(stamps - stamps[0]) * 1e-9,
        id=ids,
        category=np.array([_LOG_CATEGORIES[c] for c in boxes["category"][first]]),
        xy=table(frame, agent, position[:, :2], shape),
        yaw=table(frame, agent, np.arctan2(forward[:, 1], forward[:, 0]), shape),
        map=read_map(folder / "map.json"),
    )


def read_scenario(folder: Path) -> Recording:
    """A motion-forecasting scenario: 11 s at 10 Hz, of which the first 5 s are the observed part.

    `folder` holds scenario_*.parquet and log_map_archive_*.json.
    """
    rows = _columns(_only(folder, "scenario_*.parquet"), *_SCENARIO)
    kept = np.isin(rows["object_type"], list(_SCENARIO_CATEGORIES))
    rows = {name: column[kept] for name, column in rows.items()}
    ids, first, agent = np.unique(rows["track_id"], return_index=True, return_inverse=True)
    frames = int(rows["num_timestamps"][0])
    shape = (frames, len(ids))
    frame = rows["timestep"]
    return Recording(
        name=folder.name,
        time=0.1 * np.arange(frames),
        id=ids,
        category=np.array([_SCENARIO_CATEGORIES[c] for c in rows["object_type"][first]]),
        xy=table(frame, agent, _stack(rows, "position_x", "position_y"), shape),
        yaw=table(frame, agent, rows["heading"], shape),
        map=read_map(_only(folder, "log_map_archive_*.json")),
    )


def read_map(path: Path) -> VectorMap:
    """The drivable areas, left lane boundaries outside intersections, and pedestrian crossings."""
    try:
        return _vector_map(json.loads(path.read_text()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected a map of Argoverse 2; got {error!r}") from error


def _vector_map(record: dict[str, Any]) -> VectorMap:
    lanes = [lane for lane in record["lane_segments"].values() if not lane["is_intersection"]]
    return VectorMap(
        drivable=tuple(_line(area["area_boundary"]) for area in record["drivable_areas"].values()),
        dividers=tuple(_line(lane["left_lane_boundary"]) for lane in lanes),
        crossings=tuple(
            np.concatenate([_line(crossing["edge1"]), _line(crossing["edge2"])[::-1]])
            for crossing in record["pedestrian_crossings"].values()
        ),
    )


def _line(points: list[dict[str, float]]) -> NDArray[np.float64]:
    return np.array([[point["x"], point["y"]] for point in points])


def _columns(path: Path, *needed: str) -> dict[str, NDArray[Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Argoverse 2 files need pyarrow: pip install ros_xai[forecasting]"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: expected a log or scenario of Argoverse 2")
    columns = parquet.read_table(path).to_pydict()
    if missing := sorted(set(needed) - set(columns)):
        raise ValueError(f"{path}: expected a table of Argoverse 2; it lacks {', '.join(missing)}")
    return {name: np.array(column) for name, column in columns.items()}


def _stack(columns: dict[str, NDArray[Any]], *names: str) -> NDArray[np.float64]:
    return np.stack([columns[name] for name in names], axis=-1)


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one {pattern} in {folder}; got {len(found)}")
    return found[0]
