"""PyTorch as an engine: the reference that the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, TensorSpec, check_inputs, named_errors


class TorchEngine:
    """Runs ``module(*inputs) -> tuple of outputs`` in evaluation mode on ``device``."""

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        device: str = "cpu",
    ) -> None:
        self.module = module.eval().to(device)
        self.device, self._names = device, outputs
        self.input_specs = tuple(TensorSpec(name, "float32", None) for name in inputs)
        self.output_specs = tuple(TensorSpec(name, "float32", None) for name in outputs)

    @property
    def name(self) -> str:
        return f"torch {torch.__version__} on {self.device}"

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        check_inputs(inputs, self.input_specs)
        with torch.inference_mode(), named_errors(inputs):
            tensors = [torch.from_numpy(inputs[s.name]).to(self.device) for s in self.input_specs]
            results = self.module(*tensors)
        return {name: value.cpu().numpy() for name, value in zip(self._names, results)}
