"""OpenVINO as an engine: the fastest on Intel and AMD CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, EngineError, TensorSpec, check_inputs, named_errors


class OpenVinoEngine:
    """Compiles a serialised ONNX model for each set of input shapes it meets (the last is kept).

    Static shapes are markedly faster than dynamic ones. ``threads`` 0 lets OpenVINO choose.
    ``precision`` bf16 computes with two digits where the CPU knows it, and f32 where it does not;
    `ros_xai bench depth-engines` and `segmentation-engines` time both.
    """

    def __init__(
        self, model: bytes, threads: int = 0, precision: Literal["f32", "bf16"] = "f32"
    ) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineError("engine openvino needs `pip install openvino`") from error
        self.core = openvino.Core()
        self.core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads} if threads else {})
        self.core.set_property("CPU", {"PERFORMANCE_HINT": "LATENCY"})
        # Pinned, two engines of one process would take turns on the same core beside an idle one.
        self.core.set_property("CPU", {"ENABLE_CPU_PINNING": False})
        self._suffix = " in bf16" if precision == "bf16" else ""
        # OpenVINO's own default differs from CPU to CPU.
        self.core.set_property("CPU", {"INFERENCE_PRECISION_HINT": precision})
        self.model = self.core.read_model(model=model, weights=b"")
        self.input_specs = tuple(_spec(port) for port in self.model.inputs)
        self.output_specs = tuple(_spec(port) for port in self.model.outputs)
        self.version = str(openvino.__version__).split("-")[0]
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._request: Any = None

    @property
    def name(self) -> str:
        return f"openvino {self.version} on cpu{self._suffix}"

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self.input_specs)
        shapes = {name: array.shape for name, array in inputs.items()}
        with named_errors(inputs):
            if shapes != self._shapes:
                self.model.reshape({name: list(shape) for name, shape in shapes.items()})
                self._request = self.core.compile_model(self.model, "CPU").create_infer_request()
                self._shapes = shapes
            results = self._request.infer(dict(inputs), share_inputs=True)
        return {spec.name: results[spec.name] for spec in self.output_specs}


def _spec(port: Any) -> TensorSpec:
    kind = str(port.element_type.to_dtype())
    sizes = port.partial_shape
    shape = tuple(size.get_length() if size.is_static else None for size in sizes)
    return TensorSpec(port.get_any_name(), kind, shape)
