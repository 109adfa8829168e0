"""Why depth, segmentation or forecasting answered as it did, refined as the budget allows."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.service import Service
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from ros_xai.explanation import metrics
from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.baselines import RandomCells
from ros_xai.explanation.effects import MainEffects
from ros_xai.explanation.explainer import Refinement, SobolExplainer
from ros_xai.nodes.budget import Budget, set_apart
from ros_xai.nodes.explained_tasks import TASKS, Ask, Task
from ros_xai.nodes.explained_view import View
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.nodes.host import run
from ros_xai.ros import images
from ros_xai.ros.lifecycle import PerceptionNode
from ros_xai.ros.pipeline import Arrival, Frame
from ros_xai.ros.synchronizers import nanoseconds

_CURVE_STEPS = 15
_PAIRS = 2048  # of masks, after which first-order effects are as good as known


class ExplanationNode(PerceptionNode[ExplanationConfig, Ask]):
    """What the explained node sees and says, by `explained_tasks`, in; `explanation/...` out.

    The trigger is the answer that is explained.
    """

    _service: Service[Any, Any] | None = None  # there is none where `load` failed

    def __init__(self, **arguments: Any) -> None:
        super().__init__("explanation", "answer", ExplanationConfig, **arguments)

    def load(self, config: ExplanationConfig) -> dict[str, str]:
        """Loads the network, makes the outputs and the service."""
        self._asked = threading.Event()
        self._task: Task | None = TASKS[config.task](config)
        self._heatmap = self.output(Image, "explanation/heatmap")
        self._overlay = self.output(Image, "explanation/overlay")
        self._faithfulness = self.output(DiagnosticArray, "explanation/faithfulness")
        self._service = self.create_service(Trigger, "~/explain", self._on_request)
        return {"task": config.task, "engine": config.engine}

    def connect(self) -> None:
        """Subscribes to what the explained node sees and says."""
        assert self._task is not None  # made by `load`
        self._task.connect(self, self._submit)

    def unload(self) -> None:
        """Frees the network."""
        self._task = None
        if self._service is not None:
            self.destroy_service(self._service)
            self._service = None

    # Inputs, in the executor's threads

    def _on_request(self, request: Any, response: Any) -> Any:
        self._asked.set()
        response.success = True
        response.message = f"the next answer of {self.config.task} will be explained"
        return response

    def _submit(self, arrival: Arrival, ask: Ask) -> None:
        if self.config.on_request and not self._asked.is_set():
            self.pipeline.pass_over("answer")
            return
        self._asked.clear()
        self.pipeline.submit(arrival, ask)

    # Work, in the worker's thread

    def process(self, frame: Frame[Ask]) -> None:
        """Explains one answer as nicely as asked for."""
        config = self.config
        set_apart(config.niceness, config.idle, lambda: self._explain(frame, config))

    def _explain(self, frame: Frame[Ask], config: ExplanationConfig) -> None:
        """Refines within the budget, publishing, then tests the last map."""
        spent = Budget(config.ms_per_second, lambda: self._active)
        with frame.stages("preprocess"):
            view = frame.payload(config)
            box = view.question.box
            box = replace(box, predict=spent.metered(box.predict))
            view = replace(view, question=replace(view.question, box=box))
        with frame.stages("inference"):
            attribution = self._refined(frame, view, config, spent)
        with frame.stages("postprocess"):
            seed = nanoseconds(frame.header.stamp)
            status = _report(view, attribution, config.batch_size, seed)
        with frame.stages("publish"):
            report = DiagnosticArray(header=frame.header, status=[status])
            self.publish(self._faithfulness, report)

    def _refined(
        self,
        frame: Frame[Ask],
        view: View,
        config: ExplanationConfig,
        spent: Budget,
    ) -> Attribution:
        for shown in _maps(view, config):
            self._show(frame, view, shown)
            if spent.ms >= config.budget_ms:
                break
        return shown

    def _show(self, frame: Frame[Ask], view: View, attribution: Attribution) -> None:
        heat, over = view.heatmap(attribution), view.overlay(attribution)
        self.publish(self._heatmap, images.to_message(heat, "32FC1", frame.header))
        self.publish(self._overlay, images.to_message(over, "rgb8", frame.header))


def _maps(view: View, config: ExplanationConfig) -> Iterator[Attribution]:
    """One explanation after the other, each better than the one before."""
    question, box = view.question, view.question.box
    grid = view.grid(config.rows, config.columns)
    if config.method == "effects":
        pairs = max(_PAIRS, grid[0] * grid[1])
        effects = MainEffects(box.predict, grid, pairs, box.perturbation, config.batch_size)
        for map_ in effects.refine(box.inputs, question.supported, config.publish_every):
            yield map_
            if map_.settled():
                return
        return
    sobol = SobolExplainer(
        box.predict,
        grid,
        perturbation=box.perturbation,
        batch_size=config.batch_size,
        masks="binary",
    )
    plan = Refinement(every=config.publish_every, max_forwards=1_000_000)
    for indices in sobol.refine(box.inputs, question.target, plan):
        yield indices if question.either_way else indices.signed()


def _report(view: View, attribution: Attribution, batch_size: int, seed: int) -> DiagnosticStatus:
    """Deletion and insertion of the map shown, beside those of a random map."""
    question, box = view.question, view.question.box
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
        "method": attribution.method,
        "forwards": str(attribution.forwards),
        "largest_standard_error": f"{np.max(attribution.standard_error):.4f}",
        **{name: f"{area:.4f}" for name, area in areas.items()},
        **view.figures,
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
