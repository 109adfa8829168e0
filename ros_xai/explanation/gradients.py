"""White-box attributions through captum, in the interface of `SobolExplainer`, to compare with.

They need the torch module and not a function of arrays; captum is an optional dependency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.explanation.attribution import Attribution
from ros_xai.explanation.perturbations import Baseline, zero
from ros_xai.explanation.targets import Target


@dataclass(frozen=True)
class IntegratedGradients:
    """The gradient averaged along the line from the baseline, times the difference from it.

    Summed over channels, signed: the sum over pixels is the difference of the scores.
    Source: Sundararajan et al., ICML 2017, eq. 3, by 50 steps of captum's Gauss-Legendre rule.
    """

    network: nn.Module
    steps: int = 50
    baseline: Baseline = zero
    batch_size: int = 32

    def explain(self, image: NDArray[np.float32], target: Target) -> Attribution:
        """Importance of every pixel; image [C, H, W], target: outputs to [n]."""
        from captum.attr import IntegratedGradients as Captum

        method = Captum(_scored(self.network, target))
        values = method.attribute(
            torch.from_numpy(image)[None],
            baselines=torch.from_numpy(self.baseline(image))[None],
            n_steps=self.steps,
            internal_batch_size=self.batch_size,
        )
        return _attribution("integrated gradients", values[0].sum(0), image, self.steps)


@dataclass(frozen=True)
class GradCam:
    """Features of one layer weighted by their mean gradients, the positive part.

    Source: Selvaraju et al., ICCV 2017, eq. 1 and 2.
    """

    network: nn.Module
    layer: nn.Module

    def explain(self, image: NDArray[np.float32], target: Target) -> Attribution:
        """Importance of the cells of `layer`; image [C, H, W], target: outputs to [n]."""
        from captum.attr import LayerGradCam

        method = LayerGradCam(_scored(self.network, target), self.layer)
        values = method.attribute(torch.from_numpy(image)[None], relu_attributions=True)
        return _attribution("grad-cam", values[0, 0], image, 1)


def _scored(network: nn.Module, target: Target) -> Callable[[Tensor], Tensor]:
    def forward(images: Tensor) -> Tensor:
        return target(network(images))

    return forward


def _attribution(
    method: str, values: Tensor, image: NDArray[np.float32], forwards: int
) -> Attribution:
    shape = (image.shape[-2], image.shape[-1])
    return Attribution(method, values.detach().double().numpy(), shape, forwards)
