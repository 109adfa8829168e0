"""Explanations of the shipped depth and segmentation networks: how faithful and how fast.

Faithfulness on real frames of ROS_XAI_DATA (KITTI for depth, asked about a box ahead, by image and
by LiDAR; CamVid for the cars of the segmentation), black-box methods at equal forwards. All explain
what deletion scores, Grad-CAM (at the end of the encoder) what is asked, and Sobol, by the same
forwards, both. "depth" is both questions about the depth network together. There are no gradients
through the projection of LiDAR returns. Speed: an 8 x 8 explanation of 32 designs of the
segmentation network at 320 x 240 in batches, against plain loops over its masks, and the time to
the first overlay, wall seconds on all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.driving_questions import (
    BATCH,
    DEPTH_PIXELS,
    Precision,
    WhiteBox,
    class_questions,
    depth_questions,
)
from benchmarks.results import write
from benchmarks.seeded import Finished
from benchmarks.sobol import drawings, named, summary
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution, overlay
from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.effects import MainEffects
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.explanation.gradients import GradCam, IntegratedGradients
from ros_xai.explanation.targets import Joint
from ros_xai.nodes import explained
from ros_xai.nodes.explained import Question
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import SHIPPED

DESIGNS = 16
LOOPED = 100  # masks of the plain loops; their time is scaled up
DEPTH_GRID, CLASS_GRID = (7, 7), (5, 7)  # chosen on KITTI frames 3-43 and CamVid's training images
SPEED_GRID = (8, 8)
SPEED_PAIRS = 256  # of masks, four blocks: as `ros_xai explain --method effects`
SPEED_BATCH = 10  # the 130 forwards of the first overlay are whole batches
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8")
SETTINGS = (BATCH, DESIGNS, DEPTH_PIXELS, DEPTH_GRID, CLASS_GRID, 6)


def faithfulness(
    question: Question, grid: tuple[int, int], white: WhiteBox | None
) -> dict[str, dict[str, float]]:
    """Deletion, insertion and mu-fidelity of every method."""
    box = question.box
    budget = DESIGNS * (grid[0] * grid[1] + 1)
    found: dict[str, tuple[Attribution, float]] = {}
    begun = time.process_time()

    def lap() -> float:
        nonlocal begun
        took, begun = time.process_time() - begun, time.process_time()
        return took

    sobol = SobolExplainer(box.predict, grid, DESIGNS, box.perturbation, BATCH)
    lap()
    asked, scored = sobol.explain(box.inputs, Joint([question.target, question.agreement]))
    seconds = lap()
    found |= {name: (map_, seconds) for name, map_ in drawings(scored).items()}
    asked = asked if question.either_way else asked.signed()  # as the node shows it
    found["sobol, of what is asked"] = asked, seconds
    rise = Rise(box.predict, masks=budget, baseline=box.baseline, batch_size=BATCH)
    methods: dict[str, Any] = {
        "rise": rise,
        "rise, as published": replace(rise, over="expected"),
        "occlusion": Occlusion(box.predict, grid, box.baseline, BATCH),
        "random": RandomCells(grid),
    }
    if white is not None:
        methods["integrated gradients"] = IntegratedGradients(
            white.network, baseline=box.baseline, batch_size=10
        )
        methods["grad-cam"] = GradCam(*white)
    for name, method in methods.items():
        lap()
        target = question.target if name == "grad-cam" else question.agreement
        found[name] = method.explain(box.inputs, target), lap()
    return {
        name: {**judged(question, map_), "cpu_seconds": seconds}
        for name, (map_, seconds) in found.items()
    }


def judged(question: Question, map_: Attribution) -> dict[str, float]:
    """What removing and putting in what a map calls important does to the answer."""
    box = question.box
    arguments = (box.predict, box.inputs, map_, question.agreement)
    common = {"baseline": box.baseline, "batch_size": BATCH}
    removed, put_in = metrics.curves(*arguments, steps=BATCH - 1, **common)
    return {
        "deletion": removed.area,
        "insertion": put_in.area,
        "mu_fidelity": metrics.mu_fidelity(*arguments, subsets=4 * BATCH, **common),
        "forwards": map_.forwards,
    }


def speed(folder: Path, weights: Path, rounds: int = 4) -> dict[str, Any]:
    """Wall seconds on all cores, medians over rounds in which all ways take turns.

    Of an 8 x 8 explanation of 32 designs in batches, in 8 bits and in bfloat16; in 8 bits of the
    same with settled cells left out, and to its first overlay, and of first-order effects by a
    quarter of the forwards; and of the plain loops over its masks, torch or the engine one by one.
    """
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    seconds: dict[str, list[float]] = {}
    clock = Stopwatch(seconds)
    questions = {
        kind: next(class_questions(folder, weights, cores, kind, SPEED_BATCH))
        for kind in PRECISIONS
    }
    _, name, question, _ = questions["int8"]
    explainers = {
        kind: SobolExplainer(asked.box.predict, SPEED_GRID, 32, asked.box.perturbation, SPEED_BATCH)
        for kind, (_, _, asked, _) in questions.items()
    }
    box, target = question.box, question.target
    effects = MainEffects(box.predict, SPEED_GRID, SPEED_PAIRS, box.perturbation, SPEED_BATCH)
    image = np.ascontiguousarray(box.inputs.transpose(1, 2, 0) * 255).astype(np.uint8)
    single = explained.logits_engine(load_bundle(weights).network, "openvino", cores)
    plain = load_bundle(weights).network
    single({"image": box.inputs[None]})  # compiles, as do the explainers' below
    found = {kind: each.explain(box.inputs, target) for kind, each in explainers.items()}
    plan = Refinement(every=130, max_forwards=found["int8"].forwards)
    for _ in range(rounds):
        clock("")
        for kind in ("int8", "bf16"):
            explainers[kind].explain(box.inputs, target)
            clock(f"whole design, {kind}")
        refined = explainers["int8"].refine(box.inputs, target, plan)
        first = next(refined)
        overlay(image, first.signed().heatmap())
        clock("first overlay")
        *_, last = refined
        clock("after the first, until settled")
        quick = effects.explain(box.inputs, target)
        clock("first-order effects")
        loop(question, lambda x: plain.layers(torch.from_numpy(x))["logits"])
        clock("loop, torch")
        loop(question, lambda x: torch.as_tensor(single({"image": x})["logits"]))
        clock("loop, openvino")
    took = {part: median(each) for part, each in seconds.items() if part}
    for part in ("loop, torch", "loop, openvino"):
        took[part] *= found["int8"].forwards / LOOPED
    took["settled"] = took.pop("after the first, until settled") + took["first overlay"]
    exact = found["f32"].values.ravel()
    longer = replace(effects, pairs=8 * SPEED_PAIRS, seed=1).explain(box.inputs, target)
    return {
        "image": f"{name}, {box.inputs.shape[2]} x {box.inputs.shape[1]}",
        "threads": cores,
        "forwards": found["int8"].forwards,
        "forwards_settled": last.forwards,
        "forwards_effects": quick.forwards,
        "seconds": {part: round(each, 3) for part, each in took.items()},
        **{
            f"rank_correlation_{kind}_f32": round(
                float(spearmanr(found[kind].values.ravel(), exact).statistic), 4
            )
            for kind in ("int8", "bf16")
        },
        "rank_correlation_effects_longer": round(
            float(spearmanr(quick.values.ravel(), longer.values.ravel()).statistic), 4
        ),
    }


class Stopwatch:
    """Adds the wall seconds since the last call to a list by name."""

    def __init__(self, into: dict[str, list[float]]) -> None:
        self.into = into
        self.since = time.perf_counter()

    def __call__(self, part: str) -> None:
        now = time.perf_counter()
        self.into.setdefault(part, []).append(now - self.since)
        self.since = time.perf_counter()


def loop(question: Question, network: Callable[[NDArray[np.float32]], torch.Tensor]) -> None:
    """The plain way: resize, blend and run one mask after the other, LOOPED of them."""
    image = question.box.inputs.transpose(1, 2, 0)
    mean = image.mean((0, 1))
    rng = np.random.default_rng(0)
    for _ in range(LOOPED):
        mask = cv2.resize(rng.random(SPEED_GRID, np.float32), image.shape[1::-1])[..., None]
        mixed = (image * mask + mean * (1 - mask)).astype(np.float32).transpose(2, 0, 1)[None]
        with torch.no_grad():
            question.target(network(np.ascontiguousarray(mixed)))


def main(argv: list[str] | None = None) -> None:
    """Runs what is not finished yet, prints one JSON line per frame, writes the summary."""
    parser = argparse.ArgumentParser(prog="ros_xai bench sobol-driving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one question; nothing is written")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="of the segmenter")
    parser.add_argument(
        "--only", choices=("all", "faithfulness", "speed"), default="all", help="what to run now"
    )
    arguments = parser.parse_args(argv)
    folder, weights = Path(os.environ["ROS_XAI_DATA"]), arguments.weights
    digest = load_bundle(weights).digest[:12] if weights.is_file() else None
    done = Finished("sobol-driving", (SETTINGS, digest))
    given = "" if weights == SHIPPED else f" --weights {weights.name}"
    command = f"ros_xai bench sobol-driving{given}"
    parts = {"depth": (depth_questions(folder), DEPTH_GRID)}
    if digest is not None:
        parts["segmentation"] = (class_questions(folder, weights), CLASS_GRID)
        if arguments.only != "faithfulness" and not arguments.quick:
            timed = speed(folder, weights)
            print(json.dumps(timed), flush=True)
            write("sobol_speed", f"{command} --only speed", timed, segmenter=digest)
    if arguments.only == "speed":
        return
    torch.set_num_threads(1)
    rows: dict[str, list[Any]] = {}
    for questions, grid in parts.values():
        for part, frame, question, white in questions:
            compute = partial(named, partial(faithfulness, question, grid, white))
            result = done.get({"part": part, "frame": frame}, compute)
            rows.setdefault(part, []).append(result["figures"])
            if arguments.quick:
                return
    rows["depth"] = [
        {name: row[name] for name in rows["depth by lidar"][0]}  # no gradients there
        for part in ("depth by image", "depth by lidar")
        for row in rows[part]
    ]
    figures = {part: summary(images) for part, images in rows.items()}
    frames = {part: len(images) for part, images in rows.items()}
    write("sobol_driving", command, figures, frames=frames, segmenter=digest)


if __name__ == "__main__":
    main()
