"""TensorRT as an engine (10 and 11), where an NVIDIA GPU and its libraries are.

The network is strongly typed: precisions are those of the ONNX graph, which is converted to float16
for precision fp16. Engines come from `cache.EngineCache`, kernel timings from a timing cache beside
them; a call replays a CUDA graph as long as its shapes stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, EngineError, TensorSpec, check_inputs
from ros_xai.engines.cache import EngineCache, EngineKey, write_atomic

if TYPE_CHECKING:
    import tensorrt as trt

Precision = Literal["fp32", "fp16"]
Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


def load_tensorrt() -> Any:
    """The module `tensorrt`, ready to use. Raises EngineError with the one reason why not."""
    try:
        module = import_module("tensorrt")
    except Exception as error:  # its import also fails on missing libnvinfer, by several errors
        raise EngineError(f"TensorRT is not installed ({type(error).__name__})") from error
    if not hasattr(module, "Builder"):  # type stubs alone look like an empty package
        raise EngineError("TensorRT is not installed (only its type stubs are)")
    if not torch.cuda.is_available():
        raise EngineError("TensorRT needs an NVIDIA GPU that torch can use; there is none")
    return module


def engine_key(model: bytes, precision: Precision, profile: Profile, tensorrt: Any) -> EngineKey:
    """What the engine of a model depends on, on this machine."""
    major, minor = torch.cuda.get_device_capability()
    return EngineKey(
        model=hashlib.sha256(model).hexdigest(),
        version=str(tensorrt.__version__),
        gpu=torch.cuda.get_device_name(),
        compute_capability=f"{major}.{minor}",
        precision=precision,
        shapes=tuple(sorted((name, tuple(sizes)) for name, sizes in profile.items())),
    )


def to_float16(model: bytes) -> bytes:
    """The graph with float16 inside and float32 at its inputs and outputs."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = convert_float_to_float16(onnx.load_model_from_string(model), keep_io_types=True)
    return bytes(graph.SerializeToString())


class TensorRtEngine:
    """A serialised ONNX model on the GPU. profile: input -> least, usual and largest shape."""

    def __init__(
        self,
        model: bytes,
        profile: Profile,
        precision: Precision = "fp16",
        cache: EngineCache | None = None,
    ) -> None:
        self._trt = load_tensorrt()
        self._logger = self._trt.Logger(self._trt.Logger.WARNING)
        cache = cache or EngineCache()
        key = engine_key(model, precision, profile, self._trt)
        timings = cache.folder / f"timings_{key.version}_{key.compute_capability}.cache"

        def build() -> bytes:
            graph = to_float16(model) if precision == "fp16" else model
            return build_engine(self._trt, self._logger, graph, profile, timings)

        data, self.origin = cache.get(key, build)
        engine = self._trt.Runtime(self._logger).deserialize_cuda_engine(data)
        if engine is None:  # recorded, but of no use: a driver may have changed under it
            cache.forget(key)
            data, self.origin = cache.get(key, build)
            engine = self._trt.Runtime(self._logger).deserialize_cuda_engine(data)
        if engine is None:
            raise EngineError("TensorRT cannot load the engine that it has just built")
        self._engine: trt.ICudaEngine = engine
        self._context = engine.create_execution_context()
        self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._buffers: dict[str, torch.Tensor] = {}
        specs = [self._spec(engine.get_tensor_name(i)) for i in range(engine.num_io_tensors)]
        mode = self._trt.TensorIOMode.INPUT
        self.input_specs = tuple(s for s in specs if engine.get_tensor_mode(s.name) == mode)
        self.output_specs = tuple(s for s in specs if engine.get_tensor_mode(s.name) != mode)

    @property
    def name(self) -> str:
        return f"tensorrt {self._trt.__version__} on {torch.cuda.get_device_name()}"

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self.input_specs)
        shapes = {name: tuple(array.shape) for name, array in inputs.items()}
        if shapes != self._shapes:
            self._allocate(shapes)
        with torch.cuda.stream(self._stream):
            for name, array in inputs.items():
                source = torch.from_numpy(np.ascontiguousarray(array))
                self._buffers[name].copy_(source, non_blocking=True)
            if self._graph is not None:
                self._graph.replay()
            else:
                self._enqueue()
            found = {spec.name: self._buffers[spec.name].cpu() for spec in self.output_specs}
        self._stream.synchronize()
        return {name: tensor.numpy() for name, tensor in found.items()}

    def _spec(self, name: str) -> TensorSpec:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        sizes = tuple(self._engine.get_tensor_shape(name))
        return TensorSpec(name, str(dtype), tuple(None if n < 0 else n for n in sizes))

    def _allocate(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Buffers for these shapes, and the CUDA graph of a call with them."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise EngineError(f"{name}: {list(shape)} is outside the engine's profile")
        self._buffers = {}
        for spec in (*self.input_specs, *self.output_specs):
            size = tuple(self._context.get_tensor_shape(spec.name))
            kind = getattr(torch, spec.dtype)
            self._buffers[spec.name] = torch.empty(size, dtype=kind, device="cuda")
            self._context.set_tensor_address(spec.name, self._buffers[spec.name].data_ptr())
        self._graph = None
        with torch.cuda.stream(self._stream):
            self._enqueue()  # the first call after a change of shapes may not be captured
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._enqueue()
            self._graph = graph
        except RuntimeError:  # a layer that synchronises: calls are enqueued one by one then
            self._graph = None
        self._shapes = shapes

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError("TensorRT refused to run the network")


def build_engine(tensorrt: Any, logger: Any, model: bytes, profile: Profile, timings: Any) -> bytes:
    """Compile a serialised ONNX model. ``timings``: file of the timing cache, read and written."""
    builder: trt.Builder = tensorrt.Builder(logger)
    # TensorRT 11 knows strongly typed networks only, and no flag for them.
    flags = tensorrt.NetworkDefinitionCreationFlag
    flag = getattr(flags, "STRONGLY_TYPED", None)
    network: trt.INetworkDefinition = builder.create_network(0 if flag is None else 1 << int(flag))
    parser: trt.OnnxParser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(model):
        problems = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"TensorRT cannot read the network: {problems}")
    config: trt.IBuilderConfig = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, 1 << 30)
    ranges: trt.IOptimizationProfile = builder.create_optimization_profile()
    for name, (least, usual, largest) in profile.items():
        ranges.set_shape(name, least, usual, largest)
    config.add_optimization_profile(ranges)
    known = timings.read_bytes() if timings.is_file() else b""
    cache: trt.ITimingCache = config.create_timing_cache(known)
    config.set_timing_cache(cache, ignore_mismatch=False)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise EngineError("TensorRT cannot build an engine for the network; see its log")
    timings.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(data)
