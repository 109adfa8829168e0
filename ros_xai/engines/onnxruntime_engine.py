"""ONNX Runtime as an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, EngineError, TensorSpec, check_inputs, named_errors


class OnnxRuntimeEngine:
    """Runs a serialised ONNX model on the CPU; ``threads`` 0 lets ONNX Runtime choose."""

    def __init__(self, model: bytes, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("engine onnxruntime needs `pip install onnxruntime`") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.input_specs = tuple(_spec(node) for node in self.session.get_inputs())
        self.output_specs = tuple(_spec(node) for node in self.session.get_outputs())
        self.version = str(onnxruntime.__version__)

    @property
    def name(self) -> str:
        return f"onnxruntime {self.version} on cpu"

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self.input_specs)
        names = [spec.name for spec in self.output_specs]
        with named_errors(inputs):
            return dict(zip(names, self.session.run(names, dict(inputs))))


_TYPES = {"float": "float32", "double": "float64"}


def _spec(node: Any) -> TensorSpec:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, _TYPES.get(kind, kind), shape)
