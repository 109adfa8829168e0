"""Learning rates and distillation weights of the continual arms, on images held out of training.

The last sixth of CamVid's training images scores what the rest of them trained, with a seed that
the benchmark does not use; its test images are not looked at. Every method has the same number of
candidates: three rates and three multiples of the weights of its authors.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

import torch

from benchmarks import results
from benchmarks.driving_renders import camvid_available
from benchmarks.plop import CONFIG, HELD_OUT, Arm, arm, learn, summary
from benchmarks.seeded import Finished

COMMAND = "ros_xai bench plop-tuning"
SEED = 100
RATES = (1e-3, 3e-3, 1e-2)
STRENGTHS = (0.1, 0.3, 1.0)  # times the authors' weights


def candidates(objective: str) -> dict[str, Arm]:
    """Arms of one method by a name of their rate and strength."""
    return {
        f"rate {rate:g}, weights x {strength:g}": arm(
            objective, rate, **weights(strength)[objective]
        )
        for rate, strength in itertools.product(RATES, STRENGTHS)
    }


def weights(strength: float) -> dict[str, dict[str, Any]]:
    """The weights of each method's distillation at a multiple of its authors' choice."""
    return {
        "lwf": {"lwf": 100 * strength},
        "mib": {"mib": 10 * strength},
        "plop": {"backbone_factor": 0.01 * strength, "logits_factor": 0.0005 * strength},
    }


def main(argv: list[str]) -> None:
    """Try all candidates, or what is missing of them."""
    argparse.ArgumentParser(prog=COMMAND, description=__doc__).parse_args(argv)
    if not camvid_available():
        raise SystemExit("expected CamVid in the folder that ROS_XAI_DATA names")
    torch.set_num_threads(1)
    data, finished = "camvid" + HELD_OUT, Finished("plop-tuning", CONFIG)
    figures: dict[str, Any] = {}
    for objective in weights(1):
        found = {}
        for name, tried in candidates(objective).items():
            key = {"data": data, "method": repr(tried), "seed": SEED}
            run = finished.get(key, lambda t=tried: learn(data, t, SEED))
            scores = summary([run])
            found[name] = {k: scores[k]["mean"] for k in ("mIoU_all", "mIoU_old", "mIoU_new")}
        best = max(found, key=lambda name: found[name]["mIoU_all"])
        figures[objective] = {"best": best, "candidates": found}
    results.write("plop_tuning", COMMAND, figures, seed=SEED, data=data)


if __name__ == "__main__":
    main(sys.argv[1:])
