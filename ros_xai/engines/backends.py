"""Which engines can run here, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, get_args

from ros_xai.engines.base import Engine, EngineError
from ros_xai.engines.bundle import EngineBundle
from ros_xai.engines.int8 import weight_bits

Backend = Literal["tensorrt", "openvino", "onnxruntime", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


@dataclass(frozen=True)
class Availability:
    """detail: version and device, or the reason why the engine cannot be used."""

    name: Backend
    available: bool
    detail: str


def availability() -> list[Availability]:
    """All engines, the usually fastest first."""
    found = []
    for name in BACKENDS:
        try:
            found.append(Availability(name, True, _CHECKS[name]()))
        except EngineError as error:
            found.append(Availability(name, False, str(error)))
    return found


def create(bundle: EngineBundle, backend: Backend, threads: int = 0) -> Engine:
    """The bundle's network on one engine. Raises EngineError where that is not possible."""
    if backend in ("openvino", "onnxruntime") and bundle.card.get("weight_bits", 0) > weight_bits():
        raise EngineError(
            f"{bundle.folder}: INT8 weights of a processor with VNNI, whose sums saturate on this"
            " one: quantise it again here (`ros_xai prune --int8`), or use backend torch"
        )
    if backend == "openvino":
        from ros_xai.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(bundle.model, threads)
    if backend == "onnxruntime":
        from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(bundle.model, threads)
    if backend == "tensorrt":
        from ros_xai.engines.tensorrt_engine import TensorRtEngine

        return TensorRtEngine(bundle.model, {n: (s, s, s) for n, s in bundle.shapes.items()})
    if backend == "torch":
        from ros_xai.engines.onnx_graph import OnnxGraph
        from ros_xai.engines.torch_engine import TorchEngine

        graph = OnnxGraph(bundle.model)
        return TorchEngine(graph, graph.inputs, graph.outputs)
    raise ValueError(f"expected backend auto, {', '.join(BACKENDS)}; got {backend!r}")


def _package(name: str) -> Callable[[], str]:
    def check() -> str:
        try:
            import_module(name)
            return f"{version(name)} on cpu"
        except (ImportError, PackageNotFoundError) as error:
            raise EngineError(f"not installed: pip install {name}") from error

    return check


def _torch() -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return f"{torch.__version__} on {device}"


def _tensorrt() -> str:
    import torch

    from ros_xai.engines.tensorrt_engine import load_tensorrt

    return f"{load_tensorrt().__version__} on {torch.cuda.get_device_name()}"


_CHECKS: dict[Backend, Callable[[], str]] = {
    "tensorrt": _tensorrt,
    "openvino": _package("openvino"),
    "onnxruntime": _package("onnxruntime"),
    "torch": _torch,
}
