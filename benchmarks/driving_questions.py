"""What is asked of the shipped depth and segmentation networks about real frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ros_xai.core.geometry import transform
from ros_xai.core.pointcloud import keep_rings, sparse_depth
from ros_xai.data.kitti import RINGS, KittiClip
from ros_xai.depth.estimator import DepthEstimator, load_network
from ros_xai.depth.inputs import NetworkInput, network_input
from ros_xai.depth.network import DepthNetwork
from ros_xai.nodes import explained
from ros_xai.nodes.explained import Question
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.network import SegmentationNetwork
from ros_xai.segmentation.segmenter import MAX_PIXELS

Precision = Literal["f32", "bf16", "int8"]
BATCH = 16
DEPTH_PIXELS, CLASS_FRAMES = 320 * 96, 40
AHEAD = (slice(170, 260), slice(560, 720))  # rows and columns of the KITTI image


class WhiteBox(NamedTuple):
    """The same answers as a question's box, by torch, and the layer that Grad-CAM looks at."""

    network: nn.Module
    layer: nn.Module


class Logits(nn.Module):
    """The segmentation network up to its logits at stride 4."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.layers(image)["logits"]


class DepthOfImage(nn.Module):
    """Depth [n, h, w] (m) of images, the geometry [4, h, w] and scale being those of one frame."""

    def __init__(self, network: DepthNetwork, frame: NetworkInput) -> None:
        super().__init__()
        self.network, self.scale = network, frame.scale
        self.geometry = torch.from_numpy(frame.geometry)[None]

    def forward(self, image: Tensor) -> Tensor:
        geometry = self.geometry.expand(len(image), -1, -1, -1)
        return self.scale / self.network(image, geometry)[0][:, 0]


Asked = tuple[str, str, Question, WhiteBox | None]


def depth_questions(folder: Path) -> Iterator[Asked]:
    """Why the depth ahead is what it is, on twelve frames, by image and by LiDAR."""
    clip = KittiClip(folder / "kitti")
    network = load_network()
    estimator = DepthEstimator.load(engine="openvino", threads=1, max_pixels=DEPTH_PIXELS)
    for frame in range(48, 60):
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
            white = None
            if name == "image":
                seen = explained.at_network_size(estimator, rgb, sparse, clip.intrinsics)
                module = DepthOfImage(network, network_input(*seen))
                white = WhiteBox(module, network.image_stages.stages[-1])
            yield f"depth by {name}", f"kitti {frame}", explained.about_depth(box, region), white


def class_questions(
    folder: Path,
    weights: Path,
    threads: int = 1,
    precision: Precision = "bf16",
    batch: int = BATCH,
) -> Iterator[Asked]:
    """Why pixels are a car, on the first of every other CamVid frame that show one."""
    bundle = load_bundle(weights)
    white = WhiteBox(Logits(bundle.network).eval(), bundle.network.stages[-1])
    if precision == "int8":
        engine = explained.logits_engine(bundle.network, "openvino-int8", threads)
    else:
        engine = explained.logits_engine(bundle.network, "openvino", threads, precision)
    car = bundle.classes.names.index("car")
    asked = 0
    for file in sorted((folder / "camvid/val/image").glob("*.jpg"))[::2]:
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        box = explained.classes_by_image(engine, rgb, MAX_PIXELS, batch)
        try:
            yield "segmentation", file.stem, explained.about_class(box, car), white
        except ValueError:
            continue
        asked += 1
        if asked == CLASS_FRAMES:
            return
