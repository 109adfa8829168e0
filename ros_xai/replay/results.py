"""The folder of results of a replay.

outputs.mcap   what the nodes published
run.json       what ran: bag and its scan, topics, parameters, versions, counts
timing.json    when every answer came
frames.json    figures of every depth answer
label_frames.json  figures of every segmentation answer, where there is one
forecast_worst.json  the forecasts that were farthest off, with pictures, where there are any
metrics.json   the figures of the run, flat; in lock-step the same bytes every time
report.html    all of it for people
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ros_xai.data.segmentation import CAMVID
from ros_xai.replay.bag import Bag
from ros_xai.replay.evaluate import frame_figures, mean_figures, percentiles
from ros_xai.replay.frames import Frame, Roles, frames
from ros_xai.replay.labels import (
    LabelFrame,
    LabelRoles,
    label_confusion,
    label_figures,
    label_frames,
)

if TYPE_CHECKING:
    from ros_xai.replay import forecasts


class Results:
    """Reads and completes a folder of results.

    Args:
        folder: where run.json is.
        bag: where the bag is now, if not where it was.

    Raises:
        FileNotFoundError: the folder holds no results, or the bag is not where it was.
    """

    def __init__(self, folder: Path, bag: Path | None = None) -> None:
        if not (folder / "run.json").is_file():
            raise FileNotFoundError(f"{folder} holds no run.json: expected the --out of a replay")
        self.folder = folder
        self.run: dict[str, Any] = read_json(folder / "run.json")
        self.timing: dict[str, Any] = read_json(folder / "timing.json")
        self.bag = bag or Path(self.run["bag"]["path"])
        if not self.bag.exists():
            raise FileNotFoundError(f"no bag at {self.bag}; give its place with --bag")

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        """Depth answers, or those with a stamp of `only`, beside inputs and ground truth."""
        roles, T = self.run["roles"], self.run["T_camera_lidar"]
        if roles is None:
            return iter(())
        T_camera_lidar = None if T is None else np.reshape(T, (4, 4))
        outputs = Bag(self.folder / "outputs.mcap")
        return frames(Bag(self.bag), outputs, Roles(**roles), T_camera_lidar, only)

    def label_frames(self, only: Collection[int] | None = None) -> Iterator[LabelFrame]:
        """Segmentation answers, or those with a stamp of `only`, beside image and truth."""
        roles = self.run.get("labels")
        if roles is None:
            return iter(())
        outputs = Bag(self.folder / "outputs.mcap")
        return label_frames(Bag(self.bag), outputs, LabelRoles(**roles), only)

    def evaluate(self, seen: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Write frames.json and metrics.json; returns the metrics. `seen` is called per answer.

        Latency is counted on the replay's clock in lock-step, where the clock stands still while
        the nodes work, and on the wall clock otherwise.
        """
        per_frame: list[dict[str, Any]] = []
        for frame in self.frames():
            figures = {name: _rounded(value) for name, value in frame_figures(frame).items()}
            per_frame.append({"stamp_ns": frame.stamp_ns, "figures": figures})
            seen()
        per_label_frame, labels = self._judge_labels()
        answers = self.timing["answers"]
        clock = "clock_ms" if self.run["pace"]["lockstep"] else "wall_ms"
        groups = {
            "drops": sum(
                (Counter(node["drops"]) for node in self.run["nodes"].values()), Counter()
            ),
            "lost": self.run["lost"],
            "latency_ms": percentiles([answer[clock] for answer in answers]),
            "depth": mean_figures(entry["figures"] for entry in per_frame),
            "segmentation": labels,
            "forecast": self._judge_forecasts(),
        }
        for node, times in list(self.timing.get("nodes", {}).items())[1:]:
            groups[f"{node}.frames_out"] = {"": len(times)}
            groups[f"{node}.latency_ms"] = percentiles([answer[clock] for answer in times])
        metrics: dict[str, Any] = {
            "frames_in": self.run["frames_in"],
            "frames_out": len(answers),
            "frames_pending": sum(node["pending"] for node in self.run["nodes"].values()),
        }
        for group, values in groups.items():
            metrics |= {
                f"{group}.{name}".rstrip("."): _rounded(value) for name, value in values.items()
            }
        metrics = dict(sorted(metrics.items()))
        write_json(self.folder / "frames.json", per_frame)
        if per_label_frame:
            write_json(self.folder / "label_frames.json", per_label_frame)
        write_json(self.folder / "metrics.json", metrics)
        return metrics

    def judged_forecasts(self) -> forecasts.Judged | None:
        """Forecasts beside what became of the agents; None without the node or its tracks."""
        points = self.run.get("forecasts")
        if points is None:
            return None
        from ros_xai.replay import forecasts  # torch takes seconds to import

        outputs = Bag(self.folder / "outputs.mcap")
        return forecasts.judged(Bag(self.bag), outputs, self.run["topics"], points)

    def _judge_forecasts(self) -> dict[str, float]:
        """Figures of all forecasts of agents that move, those that cannot be computed left out."""
        found = self.judged_forecasts()
        if found is None:
            return {}
        from ros_xai.forecasting.evaluation import summary
        from ros_xai.replay.forecasts import worst

        write_json(self.folder / "forecast_worst.json", worst(found))
        figures = {name.replace(" ", "_"): value for name, value in summary(found.scores()).items()}
        counted = {"forecasts": float(found.data.scored.sum())}
        return {k: v for k, v in {**figures, **counted}.items() if np.isfinite(v)}

    def _judge_labels(self) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Figures of every segmentation answer, and of all pixels together."""
        per_frame: list[dict[str, Any]] = []
        total = np.zeros((len(CAMVID) + 1,) * 2, np.int64)
        for frame in self.label_frames():
            matrix = label_confusion(frame)
            figures = {} if matrix is None else label_figures(matrix)
            rounded = {name: _rounded(value) for name, value in figures.items()}
            per_frame.append({"stamp_ns": frame.stamp_ns, "figures": rounded})
            total += 0 if matrix is None else matrix
        return per_frame, label_figures(total)


def read_json(path: Path) -> Any:
    """The file's content."""
    return json.loads(path.read_text())


def write_json(path: Path, content: Any) -> None:
    """Write the file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    part.replace(path)


def _rounded(value: float) -> float:
    """Six significant digits, beyond which sums depend on the processor; NaN becomes None."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
