"""Learning rates and distillation weights of the continual arms, on images held out of training.

The last sixth of CamVid's training images scores what the rest of them trained, with a seed that
the benchmark does not use; its test images are not looked at, and the rendered streets not at all.
Every method has five or six candidates: two rates, then three other weights at the better rate,
and the best weights at the other rate; of those that are as good, the first. Beside them, PLOP
with its authors' weights and what its first step learns from. Ways of rehearsal, whose gains are
smaller than what another seed changes, are compared over three seeds (--only rehearsal).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import torch

from benchmarks import results
from benchmarks.driving_renders import camvid_available
from benchmarks.plop import ARMS, CONFIG, HELD_OUT, Arm, arm, learn, summary
from benchmarks.plop_diagnosis import diagnosis
from benchmarks.seeded import Finished, interval
from ros_xai.training.rehearsal import RehearsalConfig

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


def figure(finished: Finished, tried: Arm, seed: int = SEED) -> dict[str, float]:
    """Mean IoU of all, old and new classes after the last step."""
    key = {"data": DATA, "method": repr(tried), "seed": seed}
    scores = summary([finished.get(key, lambda: learn(DATA, tried, seed))])
    return {k: scores[k]["mean"] for k in ("mIoU_all", "mIoU_old", "mIoU_new")}


def _best(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The first candidate that no other beats by NOISE."""
    most = max(candidate["mIoU_all"] for candidate in found)
    return next(each for each in found if each["mIoU_all"] > most - NOISE)


def rehearsals() -> dict[str, Arm]:
    """PLOP without rehearsal, with it as in the benchmark, and with one thing changed."""
    chosen = ARMS["plop-rehearsal"]

    def shown(**changed: Any) -> Arm:
        rehearsal = RehearsalConfig(**changed)
        return replace(chosen, method=replace(chosen.method, rehearsal=rehearsal))

    return {
        "none": ARMS["plop"],
        "chosen": chosen,
        "first classes too": replace(chosen, from_first=True),
        "in any column": shown(in_place=False),
        "half of the contexts erased": shown(erased=0.5),
    }


def compare_rehearsals() -> None:
    """Mean IoU of every way of rehearsal and, paired by seed, its gain over none."""
    finished = Finished("plop-tuning", CONFIG)
    seeds = [SEED, SEED + 1, SEED + 2]
    rows = {
        name: [figure(finished, tried, seed) for seed in seeds]
        for name, tried in rehearsals().items()
    }
    figures = {
        name: {
            **{kind: interval([row[kind] for row in each]) for kind in each[0]},
            "gain": interval([a["mIoU_all"] - b["mIoU_all"] for a, b in zip(each, rows["none"])]),
        }
        for name, each in rows.items()
    }
    command = f"{COMMAND} --only rehearsal"
    results.write("plop_rehearsal", command, figures, seeds=seeds, data=DATA)


def main(argv: list[str]) -> None:
    """Try all candidates, or what is missing of them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--only", choices=("weights", "rehearsal"), default="weights")
    arguments = parser.parse_args(argv)
    if not camvid_available():
        raise SystemExit("expected CamVid in the folder that ROS_XAI_DATA names")
    torch.set_num_threads(1)
    if arguments.only == "rehearsal":
        compare_rehearsals()
        return
    finished = Finished("plop-tuning", CONFIG)
    figures = {objective: search(objective, finished) for objective in ("plop", "mib", "lwf")}
    figures["plop"]["authors"] = figure(finished, arm("plop"))
    first_step = diagnosis(DATA, {"plop": arm("plop"), "mib": arm("mib")}, FLOORS, SEED)
    results.write("plop_tuning", COMMAND, figures, first_step=first_step, seed=SEED, data=DATA)


if __name__ == "__main__":
    main(sys.argv[1:])
