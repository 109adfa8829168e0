"""Why depth or segmentation answered as it did, refined and published as the budget allows."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from ros_xai.depth.estimator import DepthEstimator
from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution, overlay
from ros_xai.explanation.baselines import RandomCells
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.nodes import explained
from ros_xai.nodes.budget import Budget, be_nice
from ros_xai.nodes.explained import Question
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.nodes.host import run
from ros_xai.ros import camera_info, images
from ros_xai.ros.diagnostics import SUPERSEDED
from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival, Frame
from ros_xai.ros.synchronizers import nanoseconds
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import SHIPPED

_IMAGES_KEPT = 30  # about 3 s: depth's answer comes long before
_CURVE_STEPS = 15


@dataclass(frozen=True)
class ExplanationInputs:
    """An image [H,W,3] and, for depth, the returns [H,W] (m, NaN = none) and K [3,3]."""

    rgb: NDArray[np.uint8]
    sparse: NDArray[np.float32] | None = None
    intrinsics: NDArray[np.float64] | None = None


Ask = Callable[[ExplanationInputs, ExplanationConfig], Question]


class ExplanationNode(PerceptionNode[ExplanationConfig, ExplanationInputs]):
    """`image`, for depth also `depth/sparse` and `depth/camera_info`, in; `explanation/...` out.

    The trigger is the answer that is explained: `depth/sparse`, which depth publishes with its
    depth, or the image that segmentation answers too.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("explanation", "answer", ExplanationConfig, **arguments)

    def load(self, config: ExplanationConfig) -> dict[str, str]:
        """Loads the network, makes the outputs and the service."""
        self._lock = threading.Lock()  # of what the executor's threads share
        self._images: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._intrinsics: NDArray[np.float64] | None = None
        self._asked = threading.Event()
        self._ask: Ask | None = _asker(config)
        self._heatmap = self.output(Image, "explanation/heatmap")
        self._overlay = self.output(Image, "explanation/overlay")
        self._faithfulness = self.output(DiagnosticArray, "explanation/faithfulness")
        self._service = self.create_service(Trigger, "~/explain", self._on_request)
        return {"task": config.task, "engine": config.engine}

    def connect(self) -> None:
        """Subscribes to what the explained node sees and says."""
        if self.config.task == "segmentation":
            self.listen(Image, "image", "answer", self._on_segmented_image)
            return
        self.listen(Image, "image", "image", self._on_image)
        self.listen(CameraInfo, "depth/camera_info", "camera_info", self._on_camera_info)
        self.listen(Image, "depth/sparse", "answer", self._on_sparse)

    def unload(self) -> None:
        """Frees the network."""
        self._ask = None
        self.destroy_service(self._service)

    # Inputs, in the executor's threads

    def _on_request(self, request: Any, response: Any) -> Any:
        self._asked.set()
        response.success = True
        response.message = f"the next answer of {self.config.task} will be explained"
        return response

    def _on_image(self, arrival: Arrival) -> None:
        rgb = arrival.converted(images.to_rgb)
        with self._lock:
            self._images[nanoseconds(arrival.message.header.stamp)] = rgb
            while len(self._images) > _IMAGES_KEPT:
                self._images.popitem(last=False)

    def _on_camera_info(self, arrival: Arrival) -> None:
        camera = camera_info.from_message(arrival.message)
        with self._lock:
            self._intrinsics = camera.intrinsics

    def _on_sparse(self, arrival: Arrival) -> None:
        stamp = nanoseconds(arrival.message.header.stamp)
        with self._lock:
            rgb, intrinsics = self._images.get(stamp), self._intrinsics
        if rgb is None or intrinsics is None:
            missing = "the image of its stamp" if rgb is None else "depth/camera_info"
            raise MessageError("unpaired", f"depth/sparse without {missing}")
        sparse = images.to_array(arrival.message)
        if sparse.shape != rgb.shape[:2]:
            raise MessageError(
                "bad_size", f"image {rgb.shape[:2]} and depth/sparse {sparse.shape} differ"
            )
        self._submit(arrival, ExplanationInputs(rgb, sparse, intrinsics))

    def _on_segmented_image(self, arrival: Arrival) -> None:
        with arrival.stages("decode"):
            rgb = arrival.converted(images.to_rgb)
        self._submit(arrival, ExplanationInputs(rgb))

    def _submit(self, arrival: Arrival, inputs: ExplanationInputs) -> None:
        if self.config.on_request and not self._asked.is_set():
            # Passed over like one that a newer one overtakes: nothing is wrong with it.
            self.pipeline.drop("answer", SUPERSEDED)
            return
        self._asked.clear()
        self.pipeline.submit(arrival, inputs)

    # Work, in the worker's thread

    def process(self, frame: Frame[ExplanationInputs]) -> None:
        """Explains one answer: refines within the budget, publishing, then tests the last map."""
        config = self.config
        assert self._ask is not None  # the worker runs between load and unload only
        be_nice(config.niceness, config.idle)
        spent = Budget(config.ms_per_second, lambda: self._active)
        with frame.stages("preprocess"):
            question = self._ask(frame.payload, config)
            box = replace(question.box, predict=spent.metered(question.box.predict))
            question = replace(question, box=box)
        with frame.stages("inference"):
            attribution = self._refined(frame, question, config, spent)
        with frame.stages("postprocess"):
            seed = nanoseconds(frame.header.stamp)
            status = _report(question, attribution, config.batch_size, seed)
        with frame.stages("publish"):
            report = DiagnosticArray(header=frame.header, status=[status])
            self.publish(self._faithfulness, report)

    def _refined(
        self,
        frame: Frame[ExplanationInputs],
        question: Question,
        config: ExplanationConfig,
        spent: Budget,
    ) -> Attribution:
        box = question.box
        explainer = SobolExplainer(
            box.predict,
            (config.rows, config.columns),
            perturbation=box.perturbation,
            batch_size=config.batch_size,
            masks="binary",
        )
        plan = Refinement(every=config.publish_every, max_forwards=1_000_000)
        for attribution in explainer.refine(box.inputs, question.target, plan):
            shown = attribution if question.either_way else attribution.signed()
            self._show(frame, shown)
            if spent.ms >= config.budget_ms:
                break
        return shown

    def _show(self, frame: Frame[ExplanationInputs], attribution: Attribution) -> None:
        rgb = frame.payload.rgb
        heat = replace(attribution, shape=rgb.shape[:2]).heatmap()
        self.publish(self._heatmap, images.to_message(heat, "32FC1", frame.header))
        self.publish(self._overlay, images.to_message(overlay(rgb, heat), "rgb8", frame.header))


def _asker(config: ExplanationConfig) -> Ask:
    """Loads the network; what it returns puts the question of a configuration to one image."""
    weights = config.weights or None
    if config.task == "segmentation":
        bundle = load_bundle(weights or SHIPPED)
        engine = explained.logits_engine(bundle.network, config.engine, config.threads)

        def ask_class(inputs: ExplanationInputs, config: ExplanationConfig) -> Question:
            names = bundle.classes.names
            if config.target not in names:
                raise MessageError(
                    "target", f"expected target one of {', '.join(names)}; got {config.target!r}"
                )
            region = _region(inputs, config)
            box = explained.classes_by_image(
                engine, inputs.rgb, config.max_pixels, config.batch_size
            )
            try:
                return explained.about_class(box, names.index(config.target), region)
            except ValueError as error:
                raise MessageError("target", f"{config.target}: {error}") from error

        return ask_class

    estimator = DepthEstimator.load(weights, config.engine, config.threads, config.max_pixels)
    makers = {"image": explained.depth_by_image, "lidar": explained.depth_by_lidar}

    def ask_depth(inputs: ExplanationInputs, config: ExplanationConfig) -> Question:
        assert inputs.sparse is not None
        returns = np.nan_to_num(inputs.sparse.astype(np.float32))
        box = makers[config.by](
            estimator, inputs.rgb, returns, inputs.intrinsics, config.batch_size
        )
        return explained.about_depth(box, _region(inputs, config))

    return ask_depth


def _region(inputs: ExplanationInputs, config: ExplanationConfig) -> NDArray[np.bool_]:
    """The pixels [H,W] asked about."""
    height, width = inputs.rgb.shape[:2]
    left, top, right, bottom = config.region or (0, 0, width, height)
    region = np.zeros((height, width), dtype=bool)
    region[top:bottom, left:right] = True
    if not region.any():
        raise MessageError(
            "region", f"region {config.region} holds no pixel of the {width} x {height} image"
        )
    return region


def _report(
    question: Question, attribution: Attribution, batch_size: int, seed: int
) -> DiagnosticStatus:
    """Deletion and insertion of the map shown, beside those of a random map."""
    box = question.box
    floor = RandomCells(attribution.values.shape, seed).explain(box.inputs)
    areas = {}
    for of, shown in (("", attribution), ("_random", floor)):
        removed, put_in = metrics.curves(
            box.predict,
            box.inputs,
            shown,
            question.agreement,
            steps=_CURVE_STEPS,
            baseline=box.baseline,
            batch_size=batch_size,
        )
        areas |= {f"deletion{of}": removed.area, f"insertion{of}": put_in.area}
    faithful = (
        areas["deletion"] <= areas["deletion_random"]
        and areas["insertion"] >= areas["insertion_random"]
    )
    figures = {
        "target": question.target.name,
        "forwards": str(attribution.forwards),
        "largest_standard_error": f"{np.max(attribution.standard_error):.4f}",
        **{name: f"{area:.4f}" for name, area in areas.items()},
    }
    return DiagnosticStatus(
        level=DiagnosticStatus.OK if faithful else DiagnosticStatus.WARN,
        name="explanation",
        message="more faithful than a random map" if faithful else "no better than a random map",
        values=[KeyValue(key=key, value=value) for key, value in figures.items()],
    )


def main(args: list[str] | None = None) -> None:
    """Runs the node until it is told to stop."""
    sys.exit(run([ExplanationNode], args))


if __name__ == "__main__":
    main()
