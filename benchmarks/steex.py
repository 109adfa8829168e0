"""Counterfactuals of "may move on" on held-out moments of the world, where the cause is known.

The networks that ship in full, then decisions and oracles of other seeds, trained as those were. A
frame counts when the decision network tells the truth on it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks import results
from benchmarks.seeded import STATE, Finished, interval
from ros_xai.data.segmentation import CAMVID
from ros_xai.explanation.steex import Counterfactual, SteexConfig, pixel_counterfactual
from ros_xai.explanation.steex_decision import DecisionNetwork, load_decisions
from ros_xai.explanation.steex_metrics import kernel_distance, outside
from ros_xai.generation.images import ImageGenerator, to_network
from ros_xai.generation.scenes import SceneConfig
from ros_xai.nodes.counterfactual_scene import Scene, scene_of
from ros_xai.training.generation_data import Scenes, load_scenes
from ros_xai.training.generation_decisions import answers
from ros_xai.training.generation_ship import rebuilt, write

COMMAND = "ros_xai bench steex"
CONFIG = SteexConfig()
SKY = CAMVID.names.index("sky")
STEPS = 1.25  # share of the recipe's steps, as of the networks that ship
TUNING = SceneConfig(drives=6, seed=301)  # drives of which no network has seen an image
LEAST = 16  # pixels in which a moment's two states must differ for it to be a frame
SHARES = (
    "reconstruction_agrees",
    "success",
    "oracle",
    "cause_in_top_2",
    "pixel_flips_decision",
    "pixel_flips_oracle",
)
OVER_SEEDS = (*SHARES, "accuracy_of_decision", "accuracy_of_oracle")


def frames_of(
    scenes: Scenes, decision: DecisionNetwork, count: int | None, large: bool = True
) -> list[int]:
    """Moments that the decision network judges rightly and whose lamps are large, or are not; drawn
    once."""
    right = (answers(decision, scenes.pairs.images) >= 0.5) == scenes.may_move
    counts = right & ((scenes.differing >= LEAST) == large)
    order = np.random.default_rng(0).permutation(len(counts))
    return [int(i) for i in order if counts[i]][:count]


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
    begun = time.process_time()
    scene = scene_of(generator, decision, pairs.images[index], pairs.labels[index], CONFIG)
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
    to_go = [row for row in rows if row["wanted"]]
    to_stop = [row for row in rows if not row["wanted"]]
    half = len(rows) // 2
    return {
        "frames": len(rows),
        "frames_to_stop": len(to_stop),
        "reconstruction_agrees": share("reconstruction_agrees", rows),
        "success": share("success", rows),
        "success_where_reconstruction_agrees": share("success", agree),
        "oracle": share("oracle", rows),
        "oracle_where_reconstruction_agrees": share("oracle", agree),
        "oracle_to_go": share("oracle", to_go),
        "oracle_to_stop": share("oracle", to_stop),
        "to_stop_by_causes": {
            " or ".join(causes): {"frames": len(alike), "oracle": share("oracle", alike)}
            for causes in sorted({tuple(row["causes"]) for row in to_stop})
            for alike in [[row for row in to_stop if tuple(row["causes"]) == causes]]
        },
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
        "pixel_flips_decision": share("pixel_flips", rows),
        "pixel_flips_oracle": share("pixel_oracle", rows),
        "pixel_l1_grey_levels": share("pixel_l1", rows),
        "l1_grey_levels": share("l1", rows),
        "share_of_change_outside_top_2": share("outside_top_2", rows),
        "kid_x1000_on_oracle_features": {
            "real halves": kid(sets("real")[:half], sets("real")[half:]),
            **{name: kid(sets("real"), sets(name)) for name in ("before", "after", "pixels")},
        },
        "cpu_seconds_per_counterfactual": share("seconds", rows),
        "steps_per_counterfactual": share("steps", rows),
    }


def of_seed(seed: int) -> tuple[DecisionNetwork, DecisionNetwork]:
    """Decision and oracle: those that ship for seed 0, else trained here as those were."""
    if seed == 0:
        return load_decisions()
    folder = STATE / f"steex-seed-{seed}"
    path = folder / "may_move.safetensors"
    if not path.is_file():
        write(rebuilt(folder, seed, STEPS))
    return load_decisions(path)


def measured(
    scenes: Scenes, generator: ImageGenerator, seed: int, frames: int, targeted: int
) -> dict[str, Any]:
    """The figures of the networks of one seed."""
    decision, oracle = of_seed(seed)
    parameters = itertools.chain(
        *(network.parameters() for network in (generator.network, decision, oracle))
    )
    digest = round(float(sum(p.double().abs().sum() for p in parameters)), 6)
    finished = Finished("steex", (asdict(CONFIG), digest))

    def rows_of(frames: list[int], targeted: int) -> list[dict[str, Any]]:
        rows = []
        for number, index in enumerate(frames):
            key = {"frame": index, "targeted": number < targeted}
            args = (scenes, index, number < targeted, generator, decision, oracle)
            rows.append(finished.get(key, lambda args=args: one_frame(*args)))
        return rows

    rows = rows_of(frames_of(scenes, decision, frames), targeted)
    large = scenes.differing >= LEAST
    figures = {**summary(rows), "moments": len(large), "moments_with_large_lamps": int(large.sum())}
    if seed == 0:
        small = summary(rows_of(frames_of(scenes, decision, None, large=False), 0))
        figures["small_lamps"] = {name: small[name] for name in ("frames", *SHARES)}
    for name, network in (("decision", decision), ("oracle", oracle)):
        right = (answers(network, scenes.pairs.images) >= 0.5) == scenes.may_move
        figures[f"accuracy_of_{name}"] = round(float(right.mean()), 4)
        figures[f"accuracy_of_{name}_on_large_lamps"] = round(float(right[large].mean()), 4)
    return figures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--targeted", type=int, default=40, help="frames with regions chosen")
    parser.add_argument("--seeds", type=int, default=3, help="of decision and oracle; 0 ships")
    parser.add_argument(
        "--tuning",
        action="store_true",
        help="the drives on which settings are chosen: prints the figures, writes none",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    generator = ImageGenerator.load()
    scenes = load_scenes(None, TUNING) if options.tuning else load_scenes(held_out=True)
    figures = measured(scenes, generator, 0, options.frames, options.targeted)
    if options.tuning:
        print(json.dumps(figures, indent=1))
        return 0
    others = [measured(scenes, generator, s, options.frames, 0) for s in range(1, options.seeds)]
    if others:
        figures["over_seeds"] = {
            name: {"each": values, **interval(values)}
            for name in OVER_SEEDS
            for values in [[each[name] for each in (figures, *others)]]
        }
    meta = {"config": asdict(CONFIG), "networks": "decision and oracle of seed 0 ship"}
    print(results.write("steex", " ".join([COMMAND, *arguments]), figures, **meta))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
