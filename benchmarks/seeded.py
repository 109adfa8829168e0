"""Results of arms over seeds: kept line by line so that a benchmark goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

STATE = Path(__file__).resolve().parents[1] / "out" / "bench"


class Finished:
    """out/bench/NAME.jsonl: one line per result. A line counts only under the same `settings`."""

    def __init__(self, name: str, settings: Any, folder: Path = STATE) -> None:
        self.path = folder / f"{name}.jsonl"
        self.settings = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        self.results = [json.loads(line) for line in lines]

    def get(self, key: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stored result of `key`, else a computed one; either way printed as one JSON line."""
        key = {**key, "settings": self.settings}
        for result in self.results:
            if key.items() <= result.items():
                break
        else:
            result = {**key, **compute()}
            self.results.append(result)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)
        return result


def interval(values: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Mean and half width of Student's confidence interval over independent runs."""
    array = np.asarray(values, dtype=np.float64)
    half = 0.0
    if len(array) > 1:
        half = t.ppf((1 + confidence) / 2, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5
    return {"mean": _rounded(array.mean()), "half_width_95": _rounded(half)}


def _rounded(value: float, digits: int = 5) -> float:
    """To significant digits: a penalty of 1e-6 is a figure, too."""
    return float(f"{value:.{digits}g}")
