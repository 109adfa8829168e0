"""Answers of the forecasting node beside what became of the tracks they are of."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2

from ros_xai.data.forecasting import HORIZON, Recording, VectorMap, table
from ros_xai.forecasting import evaluation
from ros_xai.forecasting.features import ContextConfig, rotation_into
from ros_xai.forecasting.raster import MapRaster
from ros_xai.forecasting.windows import Windows, windows
from ros_xai.replay.bag import Bag, DecodeError
from ros_xai.ros import maps, pointclouds, tracks
from ros_xai.ros.cdr import decode
from ros_xai.ros.errors import MessageError

Array = NDArray[np.float64]

_NO_MAP = MapRaster(np.zeros((1, 1, 3), np.uint8), np.zeros(2), 1.0)
_PIXELS, _METRES = 320, 80.0


@dataclass(frozen=True)
class Judged:
    """N forecasts of agents that move, every half second: modes [N,K,T,2] m in the agents' frames,
    probabilities [N,K], their windows, and the map."""

    modes: Array
    probabilities: Array
    data: Windows
    raster: MapRaster

    def scores(self) -> evaluation.Scores:
        """As the offline evaluation scores them."""
        return evaluation.score(self.modes, self.probabilities, self.data, self.raster)


def judged(bag: Bag, outputs: Bag, topics: dict[str, str], points: str) -> Judged | None:
    """The answers on the topic `points` that the bag's own tracks can judge; None without any.

    `topics` are those of the node's inputs.
    """
    recording, start_ns, raster = _recorded(bag, topics)
    if recording is None:
        return None
    data = windows(recording, raster, ContextConfig())
    answers = _answers(outputs, points)
    rows, modes, probabilities = [], [], []
    for row, (agent, time) in enumerate(zip(data.agent, data.time)):
        said = answers.get(start_ns + round(time * 1e9), {}).get(int(agent.split("/")[-1]))
        if said is not None:
            rows.append(row)
            modes.append(said[0])
            probabilities.append(said[1])
    if not rows or not data.scored[rows].any():
        return None
    known = data[np.array(rows)]
    offset = np.array(modes) - known.past[:, None, None, -1]
    turned = np.einsum("nij,nktj->nkti", rotation_into(known.yaw), offset)
    return Judged(turned, np.array(probabilities), known, raster)


def _recorded(bag: Bag, topics: dict[str, str]) -> tuple[Recording | None, int, MapRaster]:
    """The bag's tracks as a recording with the stamp of its first frame, and its map."""
    stamps: list[int] = []
    seen: list[tracks.Seen] = []
    grids: dict[str, Any] = {}
    for record in bag.records():
        try:
            if record.topic == topics.get("tracks"):
                found = tracks.from_markers(bag.decode(record))
                stamp = found.header.stamp
                stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
                # Late messages, and what comes once more in a bag of a loop, are no new frames.
                if not stamps or stamp_ns > stamps[-1]:
                    stamps.append(stamp_ns)
                    seen.append(found)
            elif record.topic in topics.values() and record.type.endswith("OccupancyGrid"):
                grids[record.topic] = bag.decode(record)
        except (DecodeError, MessageError):
            continue
    layers = [grids.get(topics.get(n, "")) for n in ("map", "map/lane_dividers", "map/crossings")]
    raster = _NO_MAP if layers[0] is None else maps.to_raster(*layers)
    if len(stamps) < 2:
        return None, 0, raster
    ids = np.unique(np.concatenate([each.agents.id for each in seen]))
    category = np.empty(len(ids), dtype="U16")
    frame, agent, values = [], [], []
    for k, each in enumerate(seen):
        place = np.searchsorted(ids, each.agents.id)
        category[place] = each.agents.category
        frame.append(np.full(len(place), k))
        agent.append(place)
        values.append(np.column_stack([each.agents.xy, each.agents.yaw]))
    cells = np.concatenate(frame), np.concatenate(agent)
    filled = table(*cells, np.concatenate(values), (len(stamps), len(ids)))
    time = (np.array(stamps) - stamps[0]) * 1e-9
    nothing = VectorMap((), (), ())
    recording = Recording("bag", time, ids, category, filled[..., :2], filled[..., 2], nothing)
    return recording, stamps[0], raster


def _answers(outputs: Bag, points: str) -> dict[int, dict[int, tuple[Array, Array]]]:
    """By stamp and track: modes [K,T,2] in the map frame and probabilities [K]."""
    found: dict[int, dict[int, tuple[Array, Array]]] = {}
    for record in outputs.records():
        if record.topic != points:
            continue
        message = decode(record.data, PointCloud2)
        rows = pointclouds.to_structured(message)
        if not len(rows):
            continue
        rows = rows.reshape(-1, int(rows["mode"].max()) + 1, HORIZON)
        stamp = message.header.stamp
        found[stamp.sec * 1_000_000_000 + stamp.nanosec] = {
            int(agent["track_id"][0, 0]): (
                np.stack([agent["x"], agent["y"]], axis=-1),
                agent["probability"][:, 0].astype(np.float64),
            )
            for agent in rows
        }
    return found


def worst(found: Judged, count: int = 4) -> list[dict[str, Any]]:
    """Of the forecasts that are farthest off at the end, one per agent: time, track, error and a
    picture on the map, heading up: green the truth, orange the modes by probability."""
    data = found.data
    likeliest = found.probabilities.argmax(axis=1)
    end = found.modes[np.arange(len(data)), likeliest, -1]
    error = np.linalg.norm(end - data.future[:, -1], axis=-1)
    chosen: dict[str, int] = {}
    for row in np.argsort(-np.where(data.scored, error, -1)):
        if data.scored[row] and len(chosen) < count:
            chosen.setdefault(str(data.agent[row]), int(row))
    return [
        {
            "time_s": float(data.time[row]),
            "track": name.split("/")[-1],
            "fde": float(error[row]),
            "picture": _picture(found, row),
        }
        for name, row in chosen.items()
    ]


def _picture(found: Judged, row: int) -> str:
    data, scale = found.data, _PIXELS / _METRES
    crop = data.features.map[row].astype(np.float32).transpose(1, 2, 0)
    config = ContextConfig().crop
    size = (
        round(config.resolution * scale * crop.shape[1]),
        round(config.resolution * scale * crop.shape[0]),
    )
    image = np.ascontiguousarray(255 - cv2.resize(crop, size)[..., :1].repeat(3, axis=2) * 0.4)
    image = image.astype(np.uint8)

    def draw(path: Array, colour: tuple[int, int, int], width: int) -> None:
        whole = np.concatenate([np.zeros((1, 2)), path])
        u, v = config.side - whole[:, 1], config.ahead - whole[:, 0]
        cells = np.rint(np.stack([u, v], axis=-1) * scale).astype(np.int32)
        cv2.polylines(image, [cells], False, colour, width, cv2.LINE_AA)

    for mode, probability in zip(found.modes[row], found.probabilities[row]):
        draw(mode, (0, 140, 255), 1 + round(3 * float(probability)))
    draw(data.future[row].astype(np.float64), (60, 160, 0), 2)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1]).decode()
