"""Learning rates and distillation weights of the continual arms, on images held out of training.

The last sixth of CamVid's training images scores what the rest of them trained, with a seed that
the benchmark does not use; its test images are not looked at, and the rendered streets not at all.
Every method has five or six candidates: two rates, then three other weights at the better rate,
and the best weights at the other rate; of those that are as good, the first. Beside them, PLOP
with its authors' weights and what its first step learns from.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from benchmarks import results
from benchmarks.driving_renders import camvid_available
from benchmarks.plop import CONFIG, HELD_OUT, Arm, arm, learn, summary
from benchmarks.plop_diagnosis import diagnosis
from benchmarks.seeded import Finished

COMMAND = "ros_xai bench plop-tuning"
SEED = 100
DATA = "camvid" + HELD_OUT
RATES = (1e-3, 3e-3)
NOISE = 0.005  # mean IoU, a third of what another seed changes
# Multiples of the authors' weights, the first one and the best with every rate; for PLOP, whose
# features here are not of the authors' scale, with the floor of the entropy thresholds.
STRENGTHS = (1.0, 0.3, 3.0, 10.0)
PLOP = ((0.1, 0.35), (0.03, 0.35), (0.1, 0.2), (0.3, 0.35))

FLOORS = (0.001, 0.2, 0.35, 0.5, 1.0)  # the authors' number, ..., every pixel trusted


def weights(objective: str) -> list[dict[str, Any]]:
    """What is tried with one method, by the names of ContinualConfig."""
    if objective == "plop":
        return [
            {"backbone_factor": 0.01 * s, "logits_factor": 0.0005 * s, "trust": trust}
            for s, trust in PLOP
        ]
    authors = {"lwf": 100, "mib": 10}[objective]
    return [{objective: authors * s} for s in STRENGTHS]


def search(objective: str, finished: Finished) -> dict[str, Any]:
    """Figures of all candidates of one method, and the best of them."""
    found: list[dict[str, Any]] = []

    def try_(rate: float, chosen: dict[str, Any]) -> None:
        found.append({"rate": rate, **chosen, **figure(finished, arm(objective, rate, **chosen))})

    first, *others = weights(objective)
    for rate in RATES:
        try_(rate, first)
    rate = _best(found)["rate"]
    for chosen in others:
        try_(rate, chosen)
    best = {name: _best(found)[name] for name in first}
    for rate in RATES:
        if {"rate": rate, **best} not in [{k: each[k] for k in ("rate", *first)} for each in found]:
            try_(rate, best)
    return {"best": _best(found), "candidates": found}


def figure(finished: Finished, tried: Arm) -> dict[str, float]:
    """Mean IoU of all, old and new classes after the last step."""
    key = {"data": DATA, "method": repr(tried), "seed": SEED}
    scores = summary([finished.get(key, lambda: learn(DATA, tried, SEED))])
    return {k: scores[k]["mean"] for k in ("mIoU_all", "mIoU_old", "mIoU_new")}


def _best(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The first candidate that no other beats by NOISE."""
    most = max(candidate["mIoU_all"] for candidate in found)
    return next(each for each in found if each["mIoU_all"] > most - NOISE)


def main(argv: list[str]) -> None:
    """Try all candidates, or what is missing of them."""
    argparse.ArgumentParser(prog=COMMAND, description=__doc__).parse_args(argv)
    if not camvid_available():
        raise SystemExit("expected CamVid in the folder that ROS_XAI_DATA names")
    torch.set_num_threads(1)
    finished = Finished("plop-tuning", CONFIG)
    figures = {objective: search(objective, finished) for objective in ("plop", "mib", "lwf")}
    figures["plop"]["authors"] = figure(finished, arm("plop"))
    first_step = diagnosis(DATA, {"plop": arm("plop"), "mib": arm("mib")}, FLOORS, SEED)
    results.write("plop_tuning", COMMAND, figures, first_step=first_step, seed=SEED, data=DATA)


if __name__ == "__main__":
    main(sys.argv[1:])
