"""The networks of the other nodes as black boxes, and the questions one asks them.

Needs no ROS: the command `ros_xai explain` uses it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ros_xai.core.camera import scale_intrinsics
from ros_xai.depth.estimator import DepthEstimator, network_size
from ros_xai.depth.inputs import network_input, resize_sparse
from ros_xai.engines.base import Engine
from ros_xai.engines.calibrated import CalibratedEngine
from ros_xai.engines.compile import Signature, to_onnx
from ros_xai.engines.openvino_engine import OpenVinoEngine
from ros_xai.engines.torch_engine import TorchEngine
from ros_xai.explanation.perturbations import Baseline, Blend, Perturbation, Thin, mean_colour, zero
from ros_xai.explanation.scoring import Predict, fixed_batch
from ros_xai.explanation.targets import (
    DepthAgreement,
    MeanLogDepth,
    NamedTarget,
    RegionLogit,
    RegionProbability,
)
from ros_xai.segmentation import segmenter
from ros_xai.segmentation.network import SegmentationNetwork

Mask = NDArray[np.bool_]
BATCHING = ("torch", "openvino", "openvino-int8")


@dataclass(frozen=True)
class BlackBox:
    """inputs: float32 [C, h, w]; predict: [n, C, h, w] to outputs, n at most the batch size.

    perturbation and baseline: what removing a part of these inputs means.
    """

    inputs: NDArray[np.float32]
    predict: Predict
    perturbation: Perturbation
    baseline: Baseline


@dataclass(frozen=True)
class Question:
    """`target` is what is explained; `agreement` falls when what the answer rests on is removed.

    either_way: a part matters whether it raises or lowers the target, as for a depth; else only
    what raises it speaks for the answer, as for a class.
    """

    box: BlackBox
    target: NamedTarget
    agreement: NamedTarget
    either_way: bool

    @property
    def supported(self) -> NamedTarget:
        """What a signed effect speaks for: the target, or that the answer stays what it was."""
        return self.agreement if self.either_way else self.target


def about_depth(box: BlackBox, region: Mask) -> Question:
    """Why the depth over `region` [H, W] (of the full image) is what it is."""
    region = _at_size(region, box)
    reference = np.asarray(box.predict(box.inputs[None])[0])
    agreement = DepthAgreement(region, reference)
    return Question(box, MeanLogDepth(region), agreement, either_way=True)


def about_class(box: BlackBox, index: int, region: Mask | None = None) -> Question:
    """Why pixels of `region` [H, W] (of the full image) are labelled as class `index`.

    Raises ValueError when no pixel there is.
    """
    logits = torch.as_tensor(box.predict(box.inputs[None]))
    labels = torch.nn.functional.interpolate(logits, box.inputs.shape[1:], mode="bilinear")
    zone = (labels.argmax(1)[0] == index).numpy()
    if region is not None:
        zone &= _at_size(region, box)
    if not zone.any():
        raise ValueError("no pixel asked about has that class: choose another class or region")
    agreement = RegionProbability(index, zone)
    return Question(box, RegionLogit(index, zone), agreement, either_way=False)


def at_network_size(
    estimator: DepthEstimator,
    image: NDArray[np.uint8],
    sparse_depth: NDArray[np.float32],
    intrinsics: ArrayLike,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64]]:
    """Image, returns and intrinsics at the size that the estimator works at."""
    height, width = sparse_depth.shape
    rows, columns = network_size(height, width, intrinsics, estimator.max_pixels)
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    K = scale_intrinsics(intrinsics, columns / width, rows / height)
    return small, resize_sparse(sparse_depth, rows, columns), K


def depth_by_image(
    estimator: DepthEstimator,
    image: NDArray[np.uint8],
    sparse_depth: NDArray[np.float32],
    intrinsics: ArrayLike,
    batch_size: int,
) -> BlackBox:
    """Depth [n, h, w] (m) as a function of the image, the LiDAR returns being as they are.

    image: uint8 [H, W, 3] rgb; sparse_depth: [H, W] metres, 0 = none; intrinsics: [3, 3].
    """
    small, sparse, K = at_network_size(estimator, image, sparse_depth, intrinsics)
    frame = network_input(small, sparse, K)

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        geometry = np.repeat(frame.geometry[None], len(images), axis=0)
        outputs = estimator.engine({"image": images, "geometry": geometry})
        return np.float32(frame.scale) / outputs["disparity"][:, 0]

    box = fixed_batch(predict, batch_size)
    return BlackBox(frame.image, box, Blend(mean_colour), mean_colour)


def depth_by_lidar(
    estimator: DepthEstimator,
    image: NDArray[np.uint8],
    sparse_depth: NDArray[np.float32],
    intrinsics: ArrayLike,
    batch_size: int,
) -> BlackBox:
    """Depth [n, h, w] (m) as a function of the returns [1, h, w] (m), the image being as it is."""
    small, sparse, K = at_network_size(estimator, image, sparse_depth, intrinsics)

    def predict(returns: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = [network_input(small, each[0], K) for each in returns]
        images = np.repeat(frames[0].image[None], len(frames), axis=0)
        geometry = np.stack([frame.geometry for frame in frames])
        outputs = estimator.engine({"image": images, "geometry": geometry})
        return np.float32(frames[0].scale) / outputs["disparity"][:, 0]

    return BlackBox(sparse[None], fixed_batch(predict, batch_size), Thin(), zero)


def classes_by_image(
    engine: Engine, image: NDArray[np.uint8], max_pixels: int, batch_size: int
) -> BlackBox:
    """Class logits [n, classes, h / 4, w / 4] of a `logits_engine` as a function of the image.

    image: uint8 [H, W, 3] rgb, shrunk to about `max_pixels` as the segmenter does.
    """
    rows, columns = segmenter.network_size(*image.shape[:2], max_pixels)
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    inputs = np.ascontiguousarray(small.transpose(2, 0, 1), dtype=np.float32) / 255

    if isinstance(engine, CalibratedEngine) and not engine.calibrated:
        engine.calibrate([{"image": _some_masked(inputs)}])

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return engine({"image": images})["logits"]

    return BlackBox(inputs, fixed_batch(predict, batch_size), Blend(mean_colour), mean_colour)


def _some_masked(image: NDArray[np.float32], count: int = 8) -> NDArray[np.float32]:
    """The image [C, H, W] and some of what explaining it makes of it, [count, C, H, W]."""
    masks = np.random.default_rng(0).integers(0, 2, (count, 8, 8)).astype(np.float32)
    masks[0] = 1
    return Blend(mean_colour)(image, (8, 8))(masks)


def logits_engine(
    network: SegmentationNetwork,
    engine: str,
    threads: int = 0,
    precision: Literal["f32", "bf16"] = "bf16",
) -> Engine:
    """The network up to its logits at stride 4: a node's answer is their upsampled argmax.

    Means over a region need no upsampling, and argmax would hide how sure the network is. Nor do
    they need more than bfloat16, which openvino computes in where the CPU can; openvino-int8 takes
    its ranges from the first image that is asked about, and is meant for the like of it.
    """
    logits = _Logits(network).eval()
    if engine == "torch":
        return TorchEngine(logits, ("image",), ("logits",))
    if engine not in BATCHING:
        raise ValueError(f"expected an engine of {', '.join(BATCHING)}; got {engine!r}")
    graph = to_onnx(logits, Signature(inputs={"image": 3}, outputs={"logits": 2}))
    if engine == "openvino-int8":
        return CalibratedEngine(graph, threads)
    return OpenVinoEngine(graph, threads, precision)


class _Logits(torch.nn.Module):
    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.network.layers(image)["logits"],)


def _at_size(region: Mask, box: BlackBox) -> Mask:
    rows, columns = box.inputs.shape[1:]
    small = cv2.resize(region.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small > 0)
