"""Counterfactuals of "may move on" on held-out moments of the world, where the cause is known.

One pass with the shipped networks. A frame counts when the decision network tells the truth on it.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks import results
from benchmarks.seeded import Finished
from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex import Counterfactual, SteexConfig, pixel_counterfactual
from ros_xai.explanation.steex_decision import DecisionNetwork, load_decisions
from ros_xai.explanation.steex_metrics import kernel_distance, outside
from ros_xai.generation.images import ImageGenerator, to_network
from ros_xai.nodes.counterfactual_scene import Scene, scene_of
from ros_xai.training.generation_data import Scenes, load_scenes
from ros_xai.training.generation_decisions import accuracy, answers

COMMAND = "ros_xai bench steex"
CONFIG = SteexConfig()
SKY = CAMVID.names.index("sky")


def frames_of(scenes: Scenes, decision: DecisionNetwork, count: int) -> list[int]:
    """Held-out moments that the decision network judges rightly, drawn once."""
    right = (answers(decision, scenes.pairs.images) >= 0.5) == scenes.may_move
    order = np.random.default_rng(0).permutation(len(right))
    return [int(i) for i in order if right[i]][:count]


def judged(oracle: DecisionNetwork, image: torch.Tensor, wanted: bool) -> bool:
    """Whether the oracle gives the wanted answer."""
    with torch.no_grad():
        return bool((oracle(image).item() >= 0) == wanted)


def one_frame(
    scenes: Scenes,
    index: int,
    targeted: bool,
    generator: ImageGenerator,
    decision: DecisionNetwork,
    oracle: DecisionNetwork,
) -> dict[str, Any]:
    """Counterfactuals of one moment by all styles, by the cause's, by the sky's, and by pixels."""
    pairs = scenes.pairs
    scene = scene_of(generator, decision, pairs.images[index], pairs.labels[index], CONFIG)
    begun = time.process_time()
    found = scene.search.explain()
    seconds = time.process_time() - begun
    wanted, causes = found.wanted, scenes.causes(index)
    order = found.changed(scene.layout).argsort(descending=True)[:2].tolist()
    top = {CAMVID.names[i] for i in order}
    change = (found.after - found.before).abs().mean(dim=1, keepdim=True)
    real = to_network(scene.image)
    noisy = pixel_counterfactual(decision, real)
    row: dict[str, Any] = {
        "causes": list(causes),
        "wanted": wanted,
        "reconstruction_agrees": found.reconstruction_agrees,
        "success": found.success,
        "oracle": found.success and judged(oracle, found.after, wanted),
        # to stop, one reason is enough; to go, every reason must go
        "cause_in_top_2": bool(top & set(causes) if not wanted else set(causes) <= top),
        "top_2": sorted(top),
        "steps": len(found.curve) - 1,
        "seconds": seconds,
        "l1": float(change.mean()) * 127.5,
        "outside_top_2": outside(change, scene.layout, tuple(order)),
        "pixel_flips": judged(decision, noisy, wanted),
        "pixel_oracle": judged(oracle, noisy, wanted),
        "pixel_l1": float((noisy - real).abs().mean()) * 127.5,
        "features": features(oracle, real, found, noisy),
    }
    if targeted:
        row |= _targeted(scene, causes, wanted, oracle)
    return row


def _targeted(
    scene: Scene, causes: tuple[str, ...], wanted: bool, oracle: DecisionNetwork
) -> dict[str, Any]:
    by_cause = scene.search.explain([CAMVID.names.index(name) for name in causes])
    row = {
        "cause_success": by_cause.success,
        "cause_oracle": by_cause.success and judged(oracle, by_cause.after, wanted),
    }
    if SKY in scene.search.present:
        row["sky_success"] = scene.search.explain([SKY]).success
    return row


@torch.no_grad()
def features(
    oracle: DecisionNetwork, real: torch.Tensor, found: Counterfactual, noisy: torch.Tensor
) -> dict[str, list[float]]:
    """The oracle's features of all images of a frame, for the distance between sets."""
    images = {"real": real, "before": found.before, "after": found.after, "pixels": noisy}
    return {
        name: [round(v, 4) for v in oracle.features(image)[0].tolist()]
        for name, image in images.items()
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares and means over the frames."""

    def share(name: str, among: list[dict[str, Any]]) -> float | None:
        values = [row[name] for row in among if name in row]
        return round(float(np.mean(values)), 4) if values else None

    def sets(name: str) -> torch.Tensor:
        return torch.tensor([row["features"][name] for row in rows])

    def kid(first: torch.Tensor, second: torch.Tensor) -> float:
        return round(1e3 * kernel_distance(first, second), 3)

    agree = [row for row in rows if row["reconstruction_agrees"]]
    half = len(rows) // 2
    return {
        "frames": len(rows),
        "frames_to_stop": sum(not row["wanted"] for row in rows),
        "reconstruction_agrees": share("reconstruction_agrees", rows),
        "success": share("success", rows),
        "success_where_reconstruction_agrees": share("success", agree),
        "oracle": share("oracle", rows),
        "oracle_where_reconstruction_agrees": share("oracle", agree),
        "cause_in_top_2": share("cause_in_top_2", [row for row in rows if row["success"]]),
        "targeted_at_cause": {
            "frames": sum("cause_success" in row for row in rows),
            "success": share("cause_success", rows),
            "oracle": share("cause_oracle", rows),
        },
        "targeted_at_sky": {
            "frames": sum("sky_success" in row for row in rows),
            "success": share("sky_success", rows),
        },
        "pixel_gradient": {
            "flips_decision": share("pixel_flips", rows),
            "flips_oracle": share("pixel_oracle", rows),
            "l1_grey_levels": share("pixel_l1", rows),
        },
        "l1_grey_levels": share("l1", rows),
        "share_of_change_outside_top_2": share("outside_top_2", rows),
        "kid_x1000_on_oracle_features": {
            "real halves": round(
                1e3 * kernel_distance(sets("real")[:half], sets("real")[half:]), 3
            ),
            **{
                name: round(1e3 * kernel_distance(sets("real"), sets(name)), 3)
                for name in ("before", "after", "pixels")
            },
        },
        "cpu_seconds_per_counterfactual": share("seconds", rows),
        "steps_per_counterfactual": share("steps", rows),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--targeted", type=int, default=40, help="frames with regions chosen")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    generator, (decision, oracle) = ImageGenerator.load(), load_decisions()
    scenes = load_scenes(held_out=True)
    digest = float(sum(p.double().abs().sum() for p in generator.network.parameters()))
    digest += float(sum(p.double().abs().sum() for p in decision.parameters()))
    finished = Finished("steex", (asdict(CONFIG), round(digest, 6)))
    rows = []
    for number, index in enumerate(frames_of(scenes, decision, options.frames)):
        targeted = number < options.targeted
        key = {"frame": index, "targeted": targeted}
        args = (scenes, index, targeted, generator, decision, oracle)
        rows.append(finished.get(key, lambda args=args: one_frame(*args)))
    figures = summary(rows)
    figures["accuracy_held_out"] = {
        "decision": round(accuracy(decision, scenes), 4),
        "oracle": round(accuracy(oracle, scenes), 4),
        "moments": len(scenes.may_move),
    }
    meta = {"seed": 0, "config": asdict(CONFIG), "networks": "shipped, one seed"}
    print(results.write("steex", " ".join([COMMAND, *arguments]), figures, **meta))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
