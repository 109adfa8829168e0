"""Figures of a replay: depth against ground truth, latency, drops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ros_xai.depth.metrics import depth_metrics, distance_to_beam, mean_metrics, valid_target
from ros_xai.replay.frames import Frame

Figures = dict[str, float]

MIN_DEPTH, MAX_DEPTH = 1e-3, 80.0  # metres
RANGES = (0.0, 10.0, 20.0, 40.0, 80.0)  # metres
BEAM_DISTANCES = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, math.inf)  # pixels


def frame_figures(frame: Frame) -> Figures:
    """Depth figures of one answer; empty without ground truth.

    `abs_rel` ... `a3` over all pixels with truth in (1e-3, 80) m; `unseen.*` over those without an
    input beam; `range.<from>-<to>.*` by true depth in metres; `beam.<from>-<to>.*` by distance to
    the nearest input beam in pixels; `coverage` is the share of them with an answer. A bin without
    pixels has no figures.
    """
    truth, depth = frame.truth, frame.depth
    if truth is None or not valid_target(truth, MIN_DEPTH, MAX_DEPTH).any():
        return {}
    figures = depth_metrics(depth, truth, MIN_DEPTH, MAX_DEPTH)
    masks = {"unseen": frame.sparse == 0}
    masks |= {f"range.{name}": mask for name, mask in _bins(truth, RANGES)}
    if frame.sparse.any():
        distance = distance_to_beam(frame.sparse)
        masks |= {f"beam.{name}": mask for name, mask in _bins(distance, BEAM_DISTANCES)}
    for name, mask in masks.items():
        of_mask = depth_metrics(depth, np.where(mask, truth, 0), MIN_DEPTH, MAX_DEPTH)
        figures |= {f"{name}.{key}": value for key, value in of_mask.items()}
    known = np.isfinite(depth[valid_target(truth, MIN_DEPTH, MAX_DEPTH)])
    figures["coverage"] = float(known.mean())
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def mean_figures(per_frame: Iterable[Figures]) -> Figures:
    """Average over the frames that have a figure; frames without ground truth have none."""
    rows = [row for row in per_frame if row]
    names = dict.fromkeys(name for row in rows for name in row)
    complete = [{name: row.get(name, math.nan) for name in names} for row in rows]
    return {k: v for k, v in mean_metrics(complete).items() if math.isfinite(v)}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99 by linear interpolation; empty without values."""
    if not values:
        return {}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def bin_names(edges: Sequence[float]) -> list[str]:
    """`from-to` of each interval; the last one's end is left open where it is infinite."""
    return [f"{low:g}-{high:g}".removesuffix("inf") for low, high in itertools.pairwise(edges)]


def _bins(values: NDArray[Any], edges: Sequence[float]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for name, (low, high) in zip(bin_names(edges), itertools.pairwise(edges)):
        yield name, (values >= low) & (values < high)
