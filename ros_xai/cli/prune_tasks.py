"""The networks that `ros_xai prune` makes smaller, and how each is judged on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.data.depth import DepthSample, KittiDrive, Loaded
from ros_xai.data.kitti import EVAL_FRAMES, RINGS, TRAIN_FRAMES, KittiClip
from ros_xai.data.segmentation import CAMVID, DataError, LabelledFolder, Sample
from ros_xai.depth import deployed as depth_deployed
from ros_xai.depth.estimator import SHIPPED as SHIPPED_DEPTH
from ros_xai.depth.estimator import DepthEstimator, load_network
from ros_xai.depth.evaluation import evaluate
from ros_xai.engines.base import Engine, TensorSpec
from ros_xai.engines.compile import EngineName, Signature, compile_network
from ros_xai.segmentation import deployed as segmentation_deployed
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.metrics import confusion, mean_iou
from ros_xai.segmentation.segmenter import SHIPPED as SHIPPED_SEGMENTATION
from ros_xai.segmentation.segmenter import Segmenter

EVERY = 4  # of the labelled images
CALIBRATED = 12  # images, at most
CALIBRATION_FRAMES = TRAIN_FRAMES[:: len(TRAIN_FRAMES) // CALIBRATED]


@dataclass(frozen=True, eq=False)
class Task:
    """A network, what an engine is made of it, and its score.

    inputs: the network's inputs of real images, empty without data; score: the metric of an engine
    on them; better: +1 where more of it is better, -1 where less; shapes: of a typical call;
    small: arguments of a smaller call, enough to see how channels depend on each other; card: what
    a bundle of this task says besides; calibration: inputs of images that are not judged on.
    """

    name: str
    module: nn.Module
    signature: Signature
    shapes: dict[str, tuple[int, ...]]
    small: tuple[Tensor, ...]
    metric: str
    better: int
    inputs: list[tuple[Tensor, ...]]
    score: Callable[[Engine], float]
    origin: str
    deploy: Callable[[nn.Module], nn.Module] = lambda module: module
    card: dict[str, Any] = field(default_factory=dict)
    calibration: list[tuple[Tensor, ...]] = field(default_factory=list)

    @property
    def example(self) -> tuple[Tensor, ...]:
        """A call of the usual size, on an image where there is one."""
        if self.inputs:
            return self.inputs[0]
        generator = torch.Generator().manual_seed(0)
        return tuple(torch.rand(shape, generator=generator) for shape in self.shapes.values())

    def engine(self, module: nn.Module, name: EngineName, threads: int = 0) -> Engine:
        """The network, or a smaller form of it, on an engine."""
        return compile_network(self.deploy(module), self.signature, name, threads)

    def named(self, inputs: tuple[Tensor, ...]) -> dict[str, NDArray[np.float32]]:
        """As an engine takes them."""
        return {name: x.numpy() for name, x in zip(self.signature.inputs, inputs)}

    def called(self, engine: Engine) -> Callable[..., list[Tensor]]:
        """The engine as a function of tensors, as `output_error` takes it."""
        return lambda *x: [torch.from_numpy(v.copy()) for v in engine(self.named(x)).values()]

    def loss(self, before: float, after: float) -> float:
        """Relative loss of the metric: positive is worse."""
        return self.better * (before - after) / before


class _Recorder:
    """An engine that keeps its inputs and answers 1 / m."""

    name = "recorder"
    input_specs: tuple[TensorSpec, ...] = ()
    output_specs: tuple[TensorSpec, ...] = ()

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, ...]] = []

    def __call__(self, inputs: Any) -> dict[str, NDArray[Any]]:
        self.seen.append(tuple(torch.from_numpy(array.copy()) for array in inputs.values()))
        return {"disparity": np.ones((1, 1, *inputs["image"].shape[2:]), np.float32)}


def depth_task(weights: Path | None = None, kitti: Path | None = None) -> Task:
    """A depth network on KITTI's frames 48-59 and four beams: abs_rel of all pixels."""
    if kitti is None:
        return depth_task_on([], weights)
    clip = KittiClip(kitti)
    judged, others = (
        Loaded.of(KittiDrive(clip, frames)).samples for frames in (EVAL_FRAMES, CALIBRATION_FRAMES)
    )
    return depth_task_on(judged, weights, others)


def depth_inputs(samples: Iterable[DepthSample]) -> list[tuple[Tensor, ...]]:
    """What the network is given for each sample and four beams."""
    recorder = _Recorder()
    for sample in samples:
        DepthEstimator(recorder)(sample.image, sample.sparse_depth(RINGS), sample.intrinsics)
    return recorder.seen


def depth_task_on(
    samples: Sequence[DepthSample],
    weights: Path | None = None,
    calibration: Sequence[DepthSample] = (),
) -> Task:
    """The same on any samples."""

    def score(engine: Engine) -> float:
        return evaluate(DepthEstimator(engine), samples, RINGS)["all"]["abs_rel"]

    sizes = (1, 3, 192, 640), (1, 4, 192, 640)
    return Task(
        name="depth",
        module=depth_deployed.Finest(load_network(weights)).eval(),
        signature=depth_deployed.SIGNATURE,
        shapes=dict(zip(("image", "geometry"), sizes)),
        small=(torch.rand(1, 3, 64, 96), torch.rand(1, 4, 64, 96)),
        metric="abs_rel",
        better=-1,
        inputs=depth_inputs(samples),
        score=score,
        origin=str((weights or SHIPPED_DEPTH).name),
        calibration=depth_inputs(calibration),
    )


def segmentation_task(
    weights: Path | None = None, labelled: Path | None = None, camvid: Path | None = None
) -> Task:
    """A segmenter on every fourth image of a labelled folder: mIoU.

    Without `labelled`, on `camvid` if its classes are those of CamVid.
    """
    names = load_bundle(weights or SHIPPED_SEGMENTATION).classes.names
    labelled = labelled or (camvid if names == CAMVID.names else None)
    if labelled is None:
        return segmentation_task_on([], weights)
    images = _labelled(labelled, names)
    others = [images[i] for i in range(EVERY // 2, len(images), EVERY)[:CALIBRATED]]
    judged = [images[i] for i in range(0, len(images), EVERY)]
    return segmentation_task_on(judged, weights, others)


def _labelled(folder: Path, names: tuple[str, ...]) -> LabelledFolder:
    """A folder labelled with the classes `names`; CamVid's need no classes.yaml."""
    described = any((place / "classes.yaml").is_file() for place in (folder, folder.parent))
    images = LabelledFolder(folder, CAMVID if names == CAMVID.names and not described else None)
    if (found := images.classes.names) != names:
        raise DataError(
            f"{folder} has the classes {', '.join(found)}; "
            f"expected those of the network: {', '.join(names)}"
        )
    return images


def segmentation_task_on(
    samples: Sequence[Sample], weights: Path | None = None, calibration: Sequence[Sample] = ()
) -> Task:
    """The same on all of any samples."""
    bundle = load_bundle(weights or SHIPPED_SEGMENTATION)
    names = bundle.classes.names

    def inputs(samples: Sequence[Sample]) -> list[tuple[Tensor, ...]]:
        recorder = _LabelRecorder()
        for sample in samples:
            Segmenter(recorder, bundle.classes)(sample.image)
        return recorder.seen

    def score(engine: Engine) -> float:
        segmenter = Segmenter(engine, bundle.classes)
        matrix = np.zeros((len(names), len(names)), dtype=np.int64)
        for sample in samples:
            matrix += confusion(sample.label, segmenter(sample.image).labels, len(names))
        if not matrix.any():
            raise DataError(f"no pixel of the {len(samples)} images to judge on has a class")
        return mean_iou(matrix)

    classes = [{"name": n, "color": list(c)} for n, c in zip(names, bundle.classes.colors)]
    return Task(
        name="segmentation",
        module=bundle.network,
        signature=segmentation_deployed.SIGNATURE,
        shapes={"image": (1, 3, 240, 320)},
        small=(torch.rand(1, 3, 48, 64),),
        metric="mIoU",
        better=1,
        inputs=inputs(samples[:8]),
        score=score,
        origin=str((weights or SHIPPED_SEGMENTATION).name),
        deploy=segmentation_deployed.Deployed,
        card={"classes": classes},
        calibration=inputs(calibration),
    )


class _LabelRecorder(_Recorder):
    def __call__(self, inputs: Any) -> dict[str, NDArray[Any]]:
        super().__call__(inputs)
        size = (1, *inputs["image"].shape[2:])
        return {"labels": np.zeros(size, np.int32), "confidence": np.ones(size, np.float32)}
