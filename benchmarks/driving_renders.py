"""Small data sets by visual domain, rendered and of CamVid, for the segmentation benchmarks.

Training streets differ from domain to domain; the test streets are others, and the same in every
domain, so that scores of domains differ by the look alone. Rendered once, then found by content.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ros_xai.data.segmentation import CAMVID, LabelledFolder, WorldSequences, resized_samples
from ros_xai.training.segmentation import Labelled
from ros_xai.world.dataset import DatasetConfig, write_dataset

DOMAINS = ("clear", "dusk", "night", "fog", "rain", "camera_b")
TEST_SEED = 900


@dataclass(frozen=True)
class RenderConfig:
    """Frames are 1.2 s apart; every sequence is another town and another camera."""

    height: int = 120
    width: int = 160
    stride: int = 12
    train_sequences: int = 12
    train_frames: int = 10
    test_sequences: int = 6
    test_frames: int = 8


RENDERS = RenderConfig()


def rendered(domain: str, test: bool = False, source: bool = False) -> Labelled:
    """Images and labels of one domain; `source` gives twice the training frames."""
    sequences = RENDERS.test_sequences if test else RENDERS.train_sequences * (1 + source)
    config = DatasetConfig(
        kind="segmentation",
        sequences=sequences,
        frames=RENDERS.test_frames if test else RENDERS.train_frames,
        stride=RENDERS.stride,
        width=RENDERS.width,
        height=RENDERS.height,
        seed=TEST_SEED if test else DOMAINS.index(domain),
        domains=(domain,),
        vary_camera=True,
    )
    samples = WorldSequences(write_dataset(config, jobs=1))
    return Labelled(*resized_samples(samples, RENDERS.height, RENDERS.width))


def camvid(split: str, prefixes: tuple[str, ...] = ("",)) -> Labelled:
    """CamVid's `train` or `val`, or some of its sequences, at the size of the renders."""
    samples = LabelledFolder(real_data() / "camvid" / split, CAMVID, prefixes)
    return Labelled(*resized_samples(samples, RENDERS.height, RENDERS.width))


def shrunk(samples: Labelled, height: int, width: int) -> Labelled:
    """The samples at a smaller size, for benchmarks that train many networks."""
    size = (width, height)
    images = [cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in samples.images]
    labels = [cv2.resize(i, size, interpolation=cv2.INTER_NEAREST_EXACT) for i in samples.labels]
    return Labelled(np.stack(images), np.stack(labels))


def camvid_available() -> bool:
    """Whether ROS_XAI_DATA names a folder with CamVid."""
    return (real_data() / "camvid").is_dir()


def real_data() -> Path:
    """The folder that ROS_XAI_DATA names."""
    return Path(os.environ.get("ROS_XAI_DATA", "no ROS_XAI_DATA"))
