"""Class and confidence of every pixel; learns new classes while it runs, by a new bundle."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String

from ros_xai.data.segmentation import Classes
from ros_xai.engines.compile import ENGINE_NAMES
from ros_xai.nodes.camera import listen_to_images
from ros_xai.nodes.host import run
from ros_xai.nodes.segmentation_config import SegmentationConfig
from ros_xai.ros import images, qos
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival, Frame
from ros_xai.segmentation.bundle import BundleError, check_growth, load_bundle
from ros_xai.segmentation.picture import overlay
from ros_xai.segmentation.segmenter import SHIPPED, Segmenter


@dataclass(frozen=True)
class Loaded:
    """A segmenter that has passed its checks, and what identifies it in diagnostics."""

    segmenter: Segmenter
    identity: dict[str, str]


class SegmentationNode(PerceptionNode[SegmentationConfig, NDArray[np.uint8]]):
    """`image` in; `segmentation/labels`, `confidence`, `overlay` and `label_names` out."""

    def __init__(self, **arguments: Any) -> None:
        self._current: Loaded | None = None  # what answers; the worker's
        self._next: Loaded | None = None  # what answers from the next frame on
        self._candidate: Loaded | None = None  # found good while a set of parameters is decided
        super().__init__("segmentation", "image", SegmentationConfig, **arguments)
        self.add_on_set_parameters_callback(self._check_bundle)
        self.add_post_set_parameters_callback(self._accept_bundle)

    def load(self, config: SegmentationConfig) -> dict[str, str]:
        """Loads the network and makes the outputs."""
        self._current, self._next = _load(config.weights, config), None
        self._labels = self.output(Image, "segmentation/labels")
        self._confidence = self.output(Image, "segmentation/confidence")
        self._overlay = self.output(Image, "segmentation/overlay")
        self._names = self.output(String, "segmentation/label_names", qos.latched())
        return self._current.identity

    def connect(self) -> None:
        """Subscribes to the camera and tells the names of the labels."""
        assert self._current is not None  # activation comes after load
        self._publish_names(self._current.segmenter.classes)
        listen_to_images(self, "image", self._on_image)

    def unload(self) -> None:
        """Frees the network."""
        self._current = self._next = self._candidate = None

    # In the executor's threads

    def _on_image(self, arrival: Arrival) -> None:
        # Converted here and not by the worker: a bad image must not take a good one's place.
        with arrival.stages("decode"):
            rgb = arrival.converted(images.to_rgb)
        self.pipeline.submit(arrival, rgb)

    def _check_bundle(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        """Loads and tries the bundle that `weights` is about to name; the present one goes on."""
        self._candidate = None
        present = self._next or self._current
        for change in changes:
            if change.name != "weights" or present is None:
                continue
            try:
                candidate = _load(str(change.value), self.config)
                check_growth(present.segmenter.classes, candidate.segmenter.classes)
            except Exception as error:
                # Let through, it would end the executor, and with it every node of the process.
                why = f"{type(error).__name__}: {error}"
                self.get_logger().error(f"keeping {present.identity['model']}: {why}")
                return SetParametersResult(successful=False, reason=why)
            self._candidate = candidate
        return SetParametersResult(successful=True)

    def _accept_bundle(self, changes: list[Parameter[Any]]) -> None:
        if any(change.name == "weights" for change in changes):
            self._next, self._candidate = self._candidate, None

    # In the worker's thread

    def process(self, frame: Frame[NDArray[np.uint8]]) -> None:
        """Answers one image."""
        current, config = self._newest(), self.config
        with frame.stages("inference"):
            labels, confidence = current.segmenter(frame.payload)
        with frame.stages("postprocess"):
            outputs = [
                (self._labels, images.to_message(labels, "mono8", frame.header)),
                (self._confidence, images.to_message(confidence, "32FC1", frame.header)),
            ]
            if config.publish_overlay and self.heard(self._overlay):
                classes = current.segmenter.classes
                tinted = overlay(frame.payload, labels, classes, config.overlay_opacity)
                outputs.append((self._overlay, images.to_message(tinted, "rgb8", frame.header)))
        with frame.stages("publish"):
            for publisher, message in outputs:
                self.publish(publisher, message)

    def _newest(self) -> Loaded:
        """What answers this frame: the swap, between two frames and nowhere else."""
        assert self._current is not None  # the worker runs between load and unload only
        grown, self._next = self._next, None
        if grown is not None:
            self._current = grown
            self._identity = grown.identity
            self._publish_names(grown.segmenter.classes)
            self.get_logger().info(f"now answering with {grown.identity['model']}")
        return self._current

    def _publish_names(self, classes: Classes) -> None:
        pairs = zip(classes.names, classes.colors)
        entries = [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(pairs)]
        self.publish(self._names, String(data=json.dumps(entries)))


def _load(weights: str, config: SegmentationConfig) -> Loaded:
    if config.engine not in ENGINE_NAMES:
        return _load_compressed(weights, config)
    path = Path(weights) if weights else SHIPPED
    bundle = load_bundle(path)
    segmenter = Segmenter.of(bundle, config.engine, config.threads, config.max_pixels)
    identity = {
        "model": f"{path.name} {bundle.digest[:12]}",
        "engine": segmenter.engine.name,
        "classes": ", ".join(bundle.classes.names),
    }
    return Loaded(segmenter, identity)


def _load_compressed(weights: str, config: SegmentationConfig) -> Loaded:
    if weights:
        raise BundleError(f"engine {config.engine} holds its own network; leave weights empty")
    segmenter, digest = Segmenter.compressed(config.engine, config.threads, config.max_pixels)
    identity = {
        "model": f"{Path(config.engine).name} {digest[:12]}",
        "engine": segmenter.engine.name,
        "classes": ", ".join(segmenter.classes.names),
    }
    return Loaded(segmenter, identity)


def main(args: list[str] | None = None) -> None:
    """Runs the node until it is told to stop."""
    sys.exit(run([SegmentationNode], args))


if __name__ == "__main__":
    main()
