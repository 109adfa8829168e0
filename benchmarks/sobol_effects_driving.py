"""First-order effects by fold-over designs against RISE, on the shipped depth and segmentation.

The questions of `bench sobol-driving`: deletion, insertion and mu-fidelity at about equal forwards,
and of every seventh question the forwards to a rank correlation of 0.9 over the pixels with a
method's own map of 4096, seen every 64. RISE with the cells of its authors and with those of the
effects. "depth" is both questions about the depth network together.
"""

from __future__ import annotations

import argparse
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.driving_questions import BATCH, CLASS_FRAMES, class_questions, depth_questions
from benchmarks.forecasting_runs import side_by_side
from benchmarks.results import write
from benchmarks.seeded import Finished, interval
from benchmarks.sobol import EVERY, settled_after, summary
from benchmarks.sobol_driving import judged
from ros_xai.explanation.baselines import Rise
from ros_xai.explanation.effects import MainEffects
from ros_xai.nodes.explained import Question
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import SHIPPED

NAME = "sobol_effects_driving"
CONVERGED, STEP, SETTLED_EVERY = 4096, 64, 7


class Task(NamedTuple):
    """grid: cells, chosen on KITTI frames 1-43 and CamVid's training images; pairs: of masks;
    questions: how many are asked."""

    grid: tuple[int, int]
    pairs: int
    questions: int


TASKS = {
    "segmentation": Task((4, 6), 288, CLASS_FRAMES),  # nine blocks of 32
    "depth": Task((7, 7), 384, 24),  # six of 64
}
SETTLING = ("main effects", "rise", "rise, as published")


def run(task: str, number: int, settles: bool) -> dict[str, Any]:
    """The figures of every map of one question, and the forwards after which it settles."""
    folder = Path(os.environ["ROS_XAI_DATA"])
    asked = depth_questions(folder) if task == "depth" else class_questions(folder, SHIPPED)
    part, frame, question, _ = next(itertools.islice(asked, number, None))
    box, found = question.box, TASKS[task]
    figures = {
        name: judged(question, method.explain(box.inputs, question.agreement))
        for name, method in methods(question, found.grid, found.pairs).items()
    }
    settled = {}
    longer = methods(question, found.grid, CONVERGED // 2)
    for name in SETTLING if settles else ():
        trace = []
        for map_ in longer[name].refine(box.inputs, question.agreement, STEP):
            values = map_.heatmap()[EVERY // 2 :: EVERY, EVERY // 2 :: EVERY]
            trace.append((map_.forwards, values.ravel()))
        settled[name] = settled_after(trace)
    return {"part": part, "frame": frame, "figures": figures, "forwards_to_0.9": settled}


def methods(question: Question, grid: tuple[int, int], pairs: int) -> dict[str, Any]:
    """By the same forwards."""
    box = question.box
    rise = Rise(box.predict, masks=2 * pairs, baseline=box.baseline, batch_size=BATCH)
    return {
        "main effects": MainEffects(box.predict, grid, pairs, box.perturbation, BATCH),
        "rise": rise,
        "rise, as published": replace(rise, over="expected"),
        "rise, cells of the effects": replace(rise, grid=grid),
    }


def main(argv: list[str] | None = None) -> None:
    """Runs what is not finished yet, prints one JSON line per question, writes the summary."""
    parser = argparse.ArgumentParser(
        prog="ros_xai bench sobol-effects-driving", description=__doc__
    )
    parser.add_argument("--jobs", type=int, default=1, help="questions at once, a core each")
    parser.add_argument("--quick", action="store_true", help="two questions; nothing is written")
    arguments = parser.parse_args(argv)
    digest = load_bundle(SHIPPED).digest[:12]
    done = Finished(NAME, (TASKS, BATCH, CONVERGED, STEP, EVERY, digest))
    keys = [
        {"task": task, "number": number, "settles": number % SETTLED_EVERY == 1}
        for task, each in TASKS.items()
        for number in range(each.questions)
    ]
    torch.set_num_threads(1)
    rows = side_by_side(done, keys[:2] if arguments.quick else keys, run, arguments.jobs)
    if arguments.quick:
        return
    parts: dict[str, list[Any]] = {}
    for row in rows:
        for part in dict.fromkeys([row["task"], row["part"]]):
            parts.setdefault(part, []).append(row)
    figures = {part: summary([row["figures"] for row in each]) for part, each in parts.items()}
    settled = {
        part: [row["forwards_to_0.9"] for row in each if row["settles"]]
        for part, each in parts.items()
    }
    figures["forwards_to_0.9"] = {
        part: {name: interval([row[name] for row in each]) for name in each[0]}
        for part, each in settled.items()
    }
    counts = {part: len(each) for part, each in parts.items()}
    write(NAME, parser.prog, figures, questions=counts, segmenter=digest)


if __name__ == "__main__":
    main()
