"""First-order effects by fold-over designs against RISE: forwards until a map settles, deletion.

On the network and images of `bench sobol`. Deletion as there, effects from 768 forwards and RISE
from 800. Forwards to a rank correlation of 0.9 over the pixels with a method's own map of 4096, on
every other image, seen every 64 forwards. "as published": RISE over N E[M].
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from benchmarks.forecasting_runs import side_by_side
from benchmarks.imagenet import BATCH, Image, Network, photographs, street_scenes, surest
from benchmarks.results import write
from benchmarks.seeded import Finished, interval
from benchmarks.sobol import EVERY, FORWARDS, GRID, IMAGES, SURE, settled_after
from ros_xai.explanation import metrics
from ros_xai.explanation.baselines import Rise
from ros_xai.explanation.effects import MainEffects
from ros_xai.explanation.targets import ClassLogit, ClassProbability, Joint

NAME = "sobol_effects"
PAIRS, CONVERGED_PAIRS = 384, 2048  # six blocks of 64, and 32
STEP = 64
SCORES = ("logit", "probability")


@lru_cache(maxsize=1)
def _images() -> tuple[Network, dict[str, Image]]:
    """The network and the images it is sure of, by name."""
    network, found = Network(), {}
    for name, rgb in itertools.chain(photographs(), street_scenes()):
        image, sure = surest(network, rgb)
        if sure >= SURE:
            found[name] = image
        if len(found) == IMAGES:
            break
    return network, found


def run(image: str, settles: bool) -> dict[str, Any]:
    """Deletion of every map of one image, and the forwards after which it settles."""
    network, images = _images()
    label, whole = network.answer(images[image])
    both = Joint([ClassLogit(label), ClassProbability(label)])
    deletions = {}
    for name, method in methods(network, settles=False).items():
        maps = method.explain(images[image], both)
        for score, map_ in zip(SCORES, (maps[0], maps[1])):
            removed, _ = metrics.curves(
                network.predict,
                images[image],
                map_,
                ClassProbability(label),
                steps=BATCH - 1,
                batch_size=BATCH,
            )
            deletions[f"{name}, of the {score}"] = removed.area / whole
    traces: dict[str, list[Any]] = {}
    for name, method in methods(network, settles=True).items() if settles else ():
        for maps in method.refine(images[image], both, STEP):
            for score, map_ in zip(SCORES, (maps[0], maps[1])):
                values = map_.heatmap()[EVERY // 2 :: EVERY, EVERY // 2 :: EVERY]
                key = f"{name}, of the {score}"
                traces.setdefault(key, []).append((maps.forwards, values.ravel()))
    settled = {key: settled_after(trace) for key, trace in traces.items()}
    return {"deletion": deletions, "forwards_to_0.9": settled}


def methods(network: Network, settles: bool) -> dict[str, Any]:
    """With the forwards of deletion, or those of a map that has settled."""
    pairs = CONVERGED_PAIRS if settles else PAIRS
    masks = 2 * CONVERGED_PAIRS if settles else FORWARDS
    rise = Rise(network.predict, masks=masks, batch_size=BATCH)
    return {
        "main effects": MainEffects(network.predict, GRID, pairs, batch_size=BATCH),
        "rise": rise,
        "rise, as published": replace(rise, over="expected"),
    }


def main(argv: list[str] | None = None) -> None:
    """Runs what is not finished yet, prints one JSON line per image, writes the summary."""
    parser = argparse.ArgumentParser(prog="ros_xai bench sobol-effects", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="images at once, a core each")
    parser.add_argument("--quick", action="store_true", help="two images, nothing is written")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    done = Finished(NAME, (PAIRS, CONVERGED_PAIRS, STEP, FORWARDS, GRID, SURE, EVERY))
    names = list(_images()[1])[: 2 if arguments.quick else IMAGES]
    keys = [{"image": name, "settles": k % 2 == 1} for k, name in enumerate(names)]
    rows = side_by_side(done, keys, run, arguments.jobs)
    settled = [row["forwards_to_0.9"] for row in rows if row["settles"]]
    deletions = [row["deletion"] for row in rows]
    figures = {
        "deletion": {m: interval([row[m] for row in deletions]) for m in deletions[0]},
        "deletion less RISE's of the probability": {
            f"{ours}, less {rise}": interval(
                [row[ours] - row[f"{rise}, of the probability"] for row in deletions]
            )
            for ours in (f"main effects, of the {score}" for score in SCORES)
            for rise in ("rise", "rise, as published")
        },
        "forwards_to_0.9": {m: interval([row[m] for row in settled]) for m in settled[0]},
    }
    if not arguments.quick:
        write(NAME, parser.prog, figures, images=len(rows), images_settled=len(settled))


if __name__ == "__main__":
    main()
