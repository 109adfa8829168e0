"""A network made ready on one of the engines, by way of ONNX where the engine is not torch."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from ros_xai.engines.base import Engine
from ros_xai.engines.onnxruntime_engine import OnnxRuntimeEngine
from ros_xai.engines.openvino_engine import OpenVinoEngine
from ros_xai.engines.torch_engine import TorchEngine

EngineName = Literal["torch", "onnxruntime", "openvino", "openvino-bf16"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

# Any size the network can work at; an exported graph keeps height and width open.
_EXAMPLE_SIZE = 64


@dataclass(frozen=True)
class Signature:
    """What a deployed network takes and gives.

    ``inputs``: name -> channels of float32 [B, channels, H, W]; ``outputs``: name -> the axis of
    its height, its width being the next.
    """

    inputs: dict[str, int]
    outputs: dict[str, int]


def check_engine(engine: str) -> None:
    """Raises ValueError for what is neither the name of an engine nor a folder."""
    if engine not in ENGINE_NAMES and not Path(engine).is_dir():
        raise ValueError(
            f"engine: expected {', '.join(ENGINE_NAMES)} or the folder of a bundle; got {engine!r}"
        )


def compile_network(
    module: nn.Module, signature: Signature, engine: str, threads: int = 0
) -> Engine:
    """``module(*inputs) -> tuple of outputs`` on the named engine; ``threads`` 0: its choice.

    Raises EngineError when the engine is not installed, ValueError for an unknown name.
    """
    if engine == "torch":
        return TorchEngine(module, tuple(signature.inputs), tuple(signature.outputs))
    if engine == "onnxruntime":
        return OnnxRuntimeEngine(to_onnx(module, signature), threads)
    if engine == "openvino":
        return OpenVinoEngine(to_onnx(module, signature), threads)
    if engine == "openvino-bf16":
        return OpenVinoEngine(to_onnx(module, signature), threads, "bf16")
    raise ValueError(f"expected engine {', '.join(ENGINE_NAMES)}; got {engine!r}")


def to_onnx(module: nn.Module, signature: Signature) -> bytes:
    """Serialised ONNX model with dynamic batch, height and width, batch norms folded in."""
    buffer = io.BytesIO()
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in signature.inputs}
    axes |= {
        name: {0: "batch", y: "height", y + 1: "width"} for name, y in signature.outputs.items()
    }
    example = tuple(
        torch.zeros(1, channels, _EXAMPLE_SIZE, _EXAMPLE_SIZE)
        for channels in signature.inputs.values()
    )
    with warnings.catch_warnings():
        # The graph exporter is announced to change; its plain operators are what engines fuse.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            buffer,  # type: ignore[arg-type]  # a file object works, but is not declared
            input_names=list(signature.inputs),
            output_names=list(signature.outputs),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()
