"""On request: how the current image would have to look for "the ego may move on" to turn."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.service import Service
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from ros_xai.explanation.steex import Counterfactual, SteexConfig, Step
from ros_xai.explanation.steex_decision import DecisionNetwork, load_decisions
from ros_xai.generation.images import ImageGenerator
from ros_xai.nodes.camera import listen_to_images
from ros_xai.nodes.counterfactual_config import CounterfactualConfig
from ros_xai.nodes.counterfactual_scene import Scene, pictures, scene_of
from ros_xai.nodes.host import run
from ros_xai.ros import images
from ros_xai.ros.errors import MessageError
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival, Frame
from ros_xai.segmentation.segmenter import Segmenter


@dataclass(frozen=True)
class _Models:
    segmenter: Segmenter
    generator: ImageGenerator
    decision: DecisionNetwork
    oracle: DecisionNetwork


class CounterfactualNode(PerceptionNode[CounterfactualConfig, NDArray[np.uint8]]):
    """`image` in; `counterfactual/before`, `after`, `side_by_side` and `decision` out.

    `~/explain` asks for the next image; every step of the search is told on
    `counterfactual/decision`, the last with what changed.
    """

    _service: Service[Any, Any] | None = None  # there is none where `load` failed

    def __init__(self, **arguments: Any) -> None:
        super().__init__("counterfactual", "image", CounterfactualConfig, **arguments)

    def load(self, config: CounterfactualConfig) -> dict[str, str]:
        """Loads the networks, makes the outputs and the service."""
        self._asked = threading.Event()
        segmenter = Segmenter.load(config.segmentation_weights or None)
        generator = ImageGenerator.load(config.image_weights or None)
        if segmenter.classes.names != generator.names:
            raise ValueError(
                f"the segmenter has the classes {', '.join(segmenter.classes.names)}; the "
                f"generator needs {', '.join(generator.names)}"
            )
        self._models: _Models | None = _Models(
            segmenter, generator, *load_decisions(config.weights or None)
        )
        self._pictures = {
            name: self.output(Image, f"counterfactual/{name}")
            for name in ("before", "after", "side_by_side")
        }
        self._decision = self.output(DiagnosticArray, "counterfactual/decision")
        self._service = self.create_service(Trigger, "~/explain", self._on_request)
        return {"decision": "the ego may move on"}

    def connect(self) -> None:
        """Subscribes to the camera."""
        listen_to_images(self, "image", self._on_image)

    def unload(self) -> None:
        """Frees the networks."""
        self._models = None
        if self._service is not None:
            self.destroy_service(self._service)
            self._service = None

    # In the executor's threads

    def _on_request(self, request: Any, response: Any) -> Any:
        self._asked.set()
        response.success, response.message = True, "the next image will be explained"
        return response

    def _on_image(self, arrival: Arrival) -> None:
        if not self._asked.is_set():
            self.pipeline.pass_over("image")
            return
        with arrival.stages("decode"):
            rgb = arrival.converted(images.to_rgb)
        self._asked.clear()
        self.pipeline.submit(arrival, rgb)

    # In the worker's thread

    def process(self, frame: Frame[NDArray[np.uint8]]) -> None:
        """Searches the counterfactual of one image."""
        models, config = self._models, self.config
        assert models is not None  # the worker runs between load and unload only
        search = SteexConfig(steps=config.steps, rate=config.rate)
        with frame.stages("preprocess"):
            label = models.segmenter(frame.payload).labels
            scene = scene_of(models.generator, models.decision, frame.payload, label, search)
        regions = _regions(config.regions, models.generator.names)

        def tell(step: Step) -> None:
            self._tell(frame, {"step": step.number, "probability": round(step.probability, 4)})

        with frame.stages("inference"):
            try:
                found = scene.search.explain(regions, tell)
            except ValueError as error:
                raise MessageError("regions", f"{config.regions}: {error}") from error
        with frame.stages("publish"):
            shown = pictures(found)
            for name, publisher in self._pictures.items():
                self.publish(publisher, images.to_message(shown[name], "rgb8", frame.header))
            self._tell(frame, _figures(found, scene, models))

    def _tell(self, frame: Frame[NDArray[np.uint8]], figures: dict[str, Any]) -> None:
        values = [KeyValue(key=key, value=str(value)) for key, value in figures.items()]
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK, name="counterfactual: may move on", values=values
        )
        self.publish(self._decision, DiagnosticArray(header=frame.header, status=[status]))


def _regions(text: str, names: tuple[str, ...]) -> list[int] | None:
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in asked if name not in names]:
        raise MessageError(
            "regions", f"unknown class {unknown[0]!r}; expected of {', '.join(names)}"
        )
    return [names.index(name) for name in asked] or None


def _figures(found: Counterfactual, scene: Scene, models: _Models) -> dict[str, Any]:
    """What the search found, and which classes changed most, in grey levels."""
    changed = found.changed(scene.layout)
    order = changed.argsort(descending=True)[:3].tolist()
    names = models.generator.names
    return {
        "success": found.success,
        "image": round(found.image, 4),
        "reconstruction": round(found.reconstruction, 4),
        "counterfactual": round(found.curve[-1], 4),
        "counterfactual_by_oracle": round(float(models.oracle(found.after).sigmoid().item()), 4),
        "changed": ", ".join(f"{names[i]} {changed[i]:.1f}" for i in order),
    }


def main(args: list[str] | None = None) -> None:
    """Runs the node until it is told to stop."""
    sys.exit(run([CounterfactualNode], args))


if __name__ == "__main__":
    main()
