"""Explanations of the shipped depth and segmentation networks: how faithful and how fast.

Faithfulness on real frames of ROS_XAI_DATA (KITTI for depth, asked about a box ahead, by image and
by LiDAR; CamVid for the cars of the segmentation), black-box methods at equal forwards. Speed: an
8 x 8 explanation of 32 designs of the segmentation network at 320 x 240 in batches, against plain
loops over its masks, and the time to the first overlay, wall seconds on all cores.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.results import write
from benchmarks.seeded import Finished
from benchmarks.sobol import named, summary
from ros_xai.core.geometry import transform
from ros_xai.core.pointcloud import keep_rings, sparse_depth
from ros_xai.data.kitti import RINGS, KittiClip
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import overlay
from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.nodes import explained
from ros_xai.nodes.explained import Question
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import MAX_PIXELS, SHIPPED

BATCH, DESIGNS = 16, 16
LOOPED = 100  # masks of the plain loops; their time is scaled up
DEPTH_PIXELS, DEPTH_GRID, CLASS_GRID = 320 * 96, (4, 12), (8, 8)
AHEAD = (slice(170, 260), slice(560, 720))  # rows and columns of the KITTI image
MASKED = {"image": explained.depth_by_image, "lidar": explained.depth_by_lidar}
SETTINGS = (BATCH, DESIGNS, DEPTH_PIXELS, DEPTH_GRID, CLASS_GRID, 1)


def depth_questions(folder: Path) -> Iterator[tuple[str, str, Question]]:
    """Why the depth ahead is what it is, on four frames, by image and by LiDAR."""
    clip = KittiClip(folder / "kitti")
    estimator = DepthEstimator.load(engine="openvino", threads=1, max_pixels=DEPTH_PIXELS)
    for frame in (48, 51, 54, 57):
        rgb = clip.image(frame)
        xyz, ring, _ = clip.scan(frame)
        points = transform(clip.T_camera_lidar, xyz[keep_rings(ring, RINGS)])
        sparse = sparse_depth(points, clip.intrinsics, *rgb.shape[:2])
        region = np.zeros(rgb.shape[:2], dtype=bool)
        region[AHEAD] = True
        for name, make in (
            ("image", explained.depth_by_image),
            ("lidar", explained.depth_by_lidar),
        ):
            box = make(estimator, rgb, sparse, clip.intrinsics, BATCH)
            yield f"depth by {name}", f"kitti {frame}", explained.about_depth(box, region)


def class_questions(
    folder: Path, weights: Path, threads: int = 1, precision: Literal["f32", "bf16"] = "bf16"
) -> Iterator[tuple[str, str, Question]]:
    """Why pixels are a car, on the first six of every tenth CamVid frame that show one."""
    bundle = load_bundle(weights)
    engine = explained.logits_engine(bundle.network, "openvino", threads, precision)
    car = bundle.classes.names.index("car")
    asked = 0
    for file in sorted((folder / "camvid/val/image").glob("*.jpg"))[::10]:
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        box = explained.classes_by_image(engine, rgb, MAX_PIXELS, BATCH)
        try:
            yield "segmentation", file.stem, explained.about_class(box, car)
        except ValueError:
            continue
        asked += 1
        if asked == 6:
            return


def faithfulness(question: Question, grid: tuple[int, int]) -> dict[str, dict[str, float]]:
    """Deletion, insertion and mu-fidelity of every method."""
    box = question.box
    budget = DESIGNS * (grid[0] * grid[1] + 1)
    sobol = SobolExplainer(box.predict, grid, DESIGNS, box.perturbation, BATCH, masks="binary")
    attribution = sobol.explain(box.inputs, question.target)
    found = {"sobol": attribution if question.either_way else attribution.signed()}
    for name, method in {
        "rise": Rise(box.predict, masks=budget, baseline=box.baseline, batch_size=BATCH),
        "occlusion": Occlusion(box.predict, grid, box.baseline, BATCH),
        "random": RandomCells(grid),
    }.items():
        found[name] = method.explain(box.inputs, question.agreement)
    figures = {}
    for name, each in found.items():
        arguments = (box.predict, box.inputs, each, question.agreement)
        common = {"baseline": box.baseline, "batch_size": BATCH}
        removed, put_in = metrics.curves(*arguments, steps=BATCH - 1, **common)
        figures[name] = {
            "deletion": removed.area,
            "insertion": put_in.area,
            "mu_fidelity": metrics.mu_fidelity(*arguments, subsets=4 * BATCH, **common),
            "forwards": each.forwards,
        }
    return figures


def speed(folder: Path, weights: Path, rounds: int = 5) -> dict[str, Any]:
    """Wall seconds on all cores, medians over rounds in which all ways take turns.

    Of an 8 x 8 explanation of 32 designs in batches; of the same with settled cells left out; to
    its first overlay; and of the plain loops over its masks, torch or the engine one by one.
    """
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    _, name, question = next(class_questions(folder, weights, cores))
    box, target = question.box, question.target
    explainer = SobolExplainer(box.predict, CLASS_GRID, 32, box.perturbation, BATCH, masks="binary")
    image = np.ascontiguousarray(box.inputs.transpose(1, 2, 0) * 255).astype(np.uint8)
    single = explained.logits_engine(load_bundle(weights).network, "openvino", cores)
    plain = load_bundle(weights).network
    single({"image": box.inputs[None]})  # compiles, as does the explainer's below
    attribution = explainer.explain(box.inputs, target)
    plan = Refinement(every=130, max_forwards=attribution.forwards)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        clock = Stopwatch(seconds)
        explainer.explain(box.inputs, target)
        clock("whole design")
        refined = explainer.refine(box.inputs, target, plan)
        first = next(refined)
        overlay(image, first.signed().heatmap())
        clock("first overlay")
        *_, last = refined
        clock("after the first, until settled")
        loop(question, lambda x: plain.layers(torch.from_numpy(x))["logits"])
        clock("loop, torch")
        loop(question, lambda x: torch.as_tensor(single({"image": x})["logits"]))
        clock("loop, openvino")
    found: dict[str, Any] = {part: median(each) for part, each in seconds.items()}
    for part in ("loop, torch", "loop, openvino"):
        found[part] *= attribution.forwards / LOOPED
    found["settled"] = found.pop("after the first, until settled") + found["first overlay"]
    return {
        "image": f"{name}, {box.inputs.shape[2]} x {box.inputs.shape[1]}",
        "threads": cores,
        "forwards": attribution.forwards,
        "forwards_settled": last.forwards,
        "seconds": {part: round(each, 3) for part, each in found.items()},
        **precision(question, folder, weights),
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
        mask = cv2.resize(rng.random(CLASS_GRID, np.float32), image.shape[1::-1])[..., None]
        mixed = (image * mask + mean * (1 - mask)).astype(np.float32).transpose(2, 0, 1)[None]
        with torch.no_grad():
            question.target(network(np.ascontiguousarray(mixed)))


def precision(question: Question, folder: Path, weights: Path) -> dict[str, float]:
    """Rank correlation of the cells' indices in bfloat16 with those in float32."""
    *_, exact = next(class_questions(folder, weights, os.cpu_count() or 1, "f32"))
    maps = []
    for box in (question.box, exact.box):
        sobol = SobolExplainer(box.predict, CLASS_GRID, DESIGNS, box.perturbation, BATCH)
        maps.append(sobol.explain(box.inputs, question.target).values.ravel())
    return {"rank_correlation_bf16_f32": round(float(spearmanr(*maps).statistic), 4)}


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
    parts = {"depth": (depth_questions(folder), DEPTH_GRID)}
    figures: dict[str, Any] = {}
    if digest is not None:
        parts["segmentation"] = (class_questions(folder, weights), CLASS_GRID)
        if arguments.only != "faithfulness" and not arguments.quick:
            compute = partial(named, partial(speed, folder, weights))
            figures["speed"] = done.get({"part": "speed"}, compute)["figures"]
    if arguments.only == "speed":
        return
    torch.set_num_threads(1)
    rows: dict[str, list[Any]] = {}
    for questions, grid in parts.values():
        for part, frame, question in questions:
            compute = partial(named, partial(faithfulness, question, grid))
            result = done.get({"part": part, "frame": frame}, compute)
            rows.setdefault(part, []).append(result["figures"])
            if arguments.quick:
                return
    figures |= {part: summary(images) for part, images in rows.items()}
    frames = {part: len(images) for part, images in rows.items()}
    if arguments.only == "all":
        given = "" if weights == SHIPPED else f" --weights {weights.name}"
        command = f"ros_xai bench sobol-driving{given}"
        write("sobol_driving", command, figures, frames=frames, segmenter=digest)


if __name__ == "__main__":
    main()
