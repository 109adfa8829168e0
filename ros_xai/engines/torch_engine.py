"""PyTorch as an engine: the reference that the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from ros_xai.engines.base import Arrays, check_names


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
        self.inputs, self.outputs, self.device = inputs, outputs, device

    @property
    def name(self) -> str:
        return f"torch {torch.__version__} on {self.device}"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        check_names(inputs, self.inputs)
        tensors = [torch.from_numpy(inputs[name]).to(self.device) for name in self.inputs]
        with torch.inference_mode():
            results = self.module(*tensors)
        return {name: value.cpu().numpy() for name, value in zip(self.outputs, results)}
