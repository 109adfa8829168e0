"""ONNX Runtime as an engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, EngineError, check_names


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
        self.inputs = tuple(node.name for node in self.session.get_inputs())
        self.outputs = tuple(node.name for node in self.session.get_outputs())
        self.version = str(onnxruntime.__version__)

    @property
    def name(self) -> str:
        return f"onnxruntime {self.version} on cpu"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        check_names(inputs, self.inputs)
        return dict(zip(self.outputs, self.session.run(list(self.outputs), dict(inputs))))
