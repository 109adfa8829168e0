"""Rows of one replay: of the bag, of every answer, of classes, and pictures of the worst frame.

Nothing in them depends on the machine or the hour; times are in a table of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.depth.metrics import depth_metrics, valid_target
from ros_xai.fleet.tables import CLASS_METRICS, column
from ros_xai.replay import panels
from ros_xai.replay.bag import Bag, DecodeError, Record
from ros_xai.replay.evaluate import MAX_DEPTH, MIN_DEPTH, frame_figures, mean_figures, percentiles
from ros_xai.replay.frames import Frame
from ros_xai.replay.player import stamp_of
from ros_xai.replay.results import Results
from ros_xai.world.mesh import CLASSES

ODOMETRY = "nav_msgs/msg/Odometry"
LABELS = "/gt/labels"  # uint8 image; its values are indices of the world's CLASSES
NEAR_NS = 200_000_000  # odometry this near tells a frame's speed
AHEAD_NS = 1_000_000_000  # how far the stamps of a bag may be out of order

Row = dict[str, Any]


def judge(results: Results, problems: list[str]) -> dict[str, list[Row]]:
    """The tables bags (one row), frames, classes and pictures; `problems` are known already."""
    clock_ms = {answer["stamp_ns"]: answer["clock_ms"] for answer in results.timing["answers"]}
    beside = Beside(Bag(results.bag))
    figures, frames, classes = [], [], []
    worst: Frame | None = None
    worst_error = -1.0
    for frame in results.frames():
        of_frame = {name: rounded(value) for name, value in frame_figures(frame).items()}
        speed, label = beside.at(frame.stamp_ns)
        figures.append(of_frame)
        frames.append(
            {
                "stamp_ns": frame.stamp_ns,
                "clock_ms": clock_ms.get(frame.stamp_ns),
                "speed": None if speed is None else rounded(speed),
                "brightness": _brightness(frame),
                **{column(name): value for name, value in of_frame.items()},
            }
        )
        classes += [{"stamp_ns": frame.stamp_ns, **row} for row in class_rows(frame, label)]
        if of_frame.get("abs_rel", 0.0) > worst_error:
            worst, worst_error = frame, of_frame.get("abs_rel", 0.0)
    row = _bag_row(results, problems, mean_figures(figures), list(clock_ms.values()))
    pictures = [] if worst is None else _pictures(worst, worst_error)
    return {"bags": [row], "frames": frames, "classes": classes, "pictures": pictures}


def class_rows(frame: Frame, label: NDArray[np.uint8] | None) -> Iterator[Row]:
    """Depth figures over the pixels of each class that have truth."""
    if label is None or frame.truth is None or label.shape != frame.truth.shape:
        return
    valid = valid_target(frame.truth, MIN_DEPTH, MAX_DEPTH)
    for index, name in enumerate(CLASSES):
        mask = valid & (label == index)
        if mask.any():
            values = depth_metrics(frame.depth[mask], frame.truth[mask], MIN_DEPTH, MAX_DEPTH)
            metrics = {metric: rounded(values[metric]) for metric in CLASS_METRICS}
            yield {"class": name, "pixels": int(mask.sum()), **metrics}


class Beside:
    """What a bag says of the moment of a frame: the speed and the label image.

    Moves forward through the bag once and holds little of it. How far it is, the stamps tell: the
    time of recording may be of another clock, as in simulation.
    """

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        odometry = sorted(  # ground truth comes before measurements
            (name for name, topic in bag.topics.items() if topic.type == ODOMETRY),
            key=lambda name: (not name.startswith("/gt/"), name),
        )
        self._odometry = odometry[0] if odometry else None
        self._clock = LABELS if LABELS in bag.topics else self._odometry
        self._records = iter(bag.records() if self._clock else ())
        self._read_ns = self._latest_ns = 0
        self._speeds: dict[int, float] = {}
        self._labels: dict[int, Record] = {}

    def at(self, stamp_ns: int) -> tuple[float | None, NDArray[np.uint8] | None]:
        """Speed in m/s and labels [H,W] at the stamp; None where the bag has none."""
        while self._read_ns <= stamp_ns + AHEAD_NS:
            record = next(self._records, None)
            if record is None:
                break
            self._take(record, stamp_ns - AHEAD_NS)
        for held in (self._speeds, self._labels):
            for old in [s for s in held if s < stamp_ns - AHEAD_NS]:
                del held[old]
        nearest = min(self._speeds, key=lambda s: abs(s - stamp_ns), default=None)
        near = nearest is not None and abs(nearest - stamp_ns) <= NEAR_NS
        return self._speeds[nearest] if near else None, self._label(stamp_ns)

    def _take(self, record: Record, oldest_ns: int) -> None:
        if record.topic not in (self._odometry, LABELS):
            return
        stamp_ns = stamp_of(record.data)
        if stamp_ns is None or stamp_ns < oldest_ns:
            return
        if record.topic == self._clock:  # one stamp far ahead does not end the reading
            self._read_ns, self._latest_ns = min(self._latest_ns, stamp_ns), stamp_ns
        if record.topic == LABELS:
            self._labels[stamp_ns] = record
            return
        try:
            linear = self._bag.decode(record).twist.twist.linear
        except DecodeError:
            return
        self._speeds[stamp_ns] = float(np.linalg.norm([linear.x, linear.y, linear.z]))

    def _label(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        record = self._labels.get(stamp_ns)
        try:
            message = None if record is None else self._bag.decode(record)
        except DecodeError:
            return None
        if message is None or getattr(message, "encoding", "") not in ("mono8", "8UC1"):
            return None
        rows = np.asarray(message.data).reshape(message.height, message.step)
        return rows[:, : message.width]


def rounded(value: float) -> float:
    """Six significant digits, as in metrics.json."""
    return float(f"{value:.6g}")


def _brightness(frame: Frame) -> float | None:
    """Mean of the picture in [0, 1]: dark is night, or a tunnel."""
    return None if frame.image is None else rounded(float(frame.image.mean()) / 255)


def _bag_row(
    results: Results, problems: list[str], depth: dict[str, float], clock_ms: list[float]
) -> Row:
    run = results.run
    problems = problems + [f"damaged: {text}" for text in run["bag"]["damages"]]
    if not clock_ms:
        problems.append("no frame was answered")
    drops = sum(n for node in run["nodes"].values() for n in node["drops"].values())
    return {
        "status": "failed" if not clock_ms else "degraded" if problems else "ok",
        "problems": problems,
        "start_s": run["bag"]["start_s"],
        "duration_s": run["bag"]["duration_s"],
        "frames_in": run["frames_in"],
        "frames_out": len(clock_ms),
        "answered": rounded(len(clock_ms) / run["frames_in"]) if run["frames_in"] else None,
        "drops": drops,
        **{f"clock_ms_{name}": rounded(value) for name, value in percentiles(clock_ms).items()},
        **{column(name): rounded(value) for name, value in depth.items()},
    }


def _pictures(frame: Frame, error: float) -> list[Row]:
    return [
        {
            "stamp_ns": frame.stamp_ns,
            "abs_rel": error,
            "caption": panel.caption,
            "source": panel.source,
        }
        for panel in panels.panels(frame)
    ]
