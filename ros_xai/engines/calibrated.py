"""An engine in INT8 that is calibrated by the inputs it is going to see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, TensorSpec
from ros_xai.engines.int8 import quantize_int8
from ros_xai.engines.openvino_engine import OpenVinoEngine


class CalibratedEngine:
    """OpenVINO, in bfloat16 until `calibrate` has seen samples of the inputs, in INT8 thereafter.

    For what many answers are averaged over, such as explanations: a single one is off by what 8
    bits cannot tell apart, and values beyond those of the samples are clipped.
    """

    def __init__(self, model: bytes, threads: int = 0) -> None:
        self.calibrated = False
        self._model, self._threads = model, threads
        self._engine = OpenVinoEngine(model, threads, "bf16")

    def calibrate(self, samples: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        """Takes the range of every activation from what the network makes of the samples.

        Raises EngineError without samples, or where onnxruntime or onnx is missing.
        """
        graph = quantize_int8(self._model, samples, operators=None)
        self._engine = OpenVinoEngine(graph, self._threads)
        self.calibrated = True

    @property
    def name(self) -> str:
        return f"{self._engine.name} in int8" if self.calibrated else self._engine.name

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        return self._engine.input_specs

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        return self._engine.output_specs

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        return self._engine(inputs)
