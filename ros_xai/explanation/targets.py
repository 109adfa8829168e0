"""What is explained: a scalar of a network's output, one for each input of a batch.

A target takes the outputs as torch tensors (a tuple of them if the network gives several) and
returns [n], or [n, T] for T scalars that share their forwards. Any callable will do; these have
names. They are differentiable, so the gradient methods take them too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Target = Callable[[Any], Tensor]


class NamedTarget(Protocol):
    """A target that can say what it is, for reports."""

    @property
    def name(self) -> str: ...

    def __call__(self, outputs: Any) -> Tensor: ...


@dataclass(frozen=True)
class ClassLogit:
    """The logit of one class; outputs [n, classes]."""

    index: int

    @property
    def name(self) -> str:
        return f"logit of class {self.index}"

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs[:, self.index]


@dataclass(frozen=True)
class ClassProbability:
    """The softmax probability of one class; outputs are logits [n, classes]."""

    index: int

    @property
    def name(self) -> str:
        return f"probability of class {self.index}"

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)[:, self.index]


@dataclass(frozen=True, eq=False)
class RegionLogit:
    """The mean logit of one class over a region [H, W]; outputs are logits [n, classes, h, w].

    The outputs may be coarser or finer than the region: it is averaged to their size.
    """

    index: int
    region: NDArray[np.bool_]

    @property
    def name(self) -> str:
        return f"mean logit of class {self.index} over {self.region.sum()} px"

    def __call__(self, outputs: Tensor) -> Tensor:
        return region_mean(outputs[:, self.index], self.region)


@dataclass(frozen=True, eq=False)
class RegionProbability:
    """The mean softmax probability of one class over a region [H, W]; else as `RegionLogit`."""

    index: int
    region: NDArray[np.bool_]

    @property
    def name(self) -> str:
        return f"mean probability of class {self.index} over {self.region.sum()} px"

    def __call__(self, outputs: Tensor) -> Tensor:
        return region_mean(outputs.softmax(1)[:, self.index], self.region)


@dataclass(frozen=True, eq=False)
class MeanLogDepth:
    """The mean logarithm of the depth over a region [H, W]; outputs [n, (1,) h, w] metres > 0.

    Logarithm: a wrong metre matters at 5 m and not at 50 m.
    """

    region: NDArray[np.bool_]

    @property
    def name(self) -> str:
        return f"mean log depth over {self.region.sum()} px"

    def __call__(self, outputs: Tensor) -> Tensor:
        depth = outputs[:, 0] if outputs.ndim == 4 else outputs
        return region_mean(depth.clamp(min=1e-3).log(), self.region)


@dataclass(frozen=True, eq=False)
class DepthAgreement:
    """Mean over a region of min(d / d0, d0 / d), in (0, 1]: 1 where the depth d is d0, [H, W] m.

    What deletion and insertion should score: a mean log depth may go either way when it goes wrong.
    """

    region: NDArray[np.bool_]
    reference: NDArray[np.float32]

    @property
    def name(self) -> str:
        return f"agreement of depth over {self.region.sum()} px"

    def __call__(self, outputs: Tensor) -> Tensor:
        depth = outputs[:, 0] if outputs.ndim == 4 else outputs
        reference = torch.as_tensor(self.reference, dtype=depth.dtype, device=depth.device)
        difference = depth.clamp(min=1e-3).log() - reference.clamp(min=1e-3).log()
        return region_mean((-difference.abs()).exp(), self.region)


@dataclass(frozen=True)
class EndPointShift:
    """How far (m) the most likely end point lies from that of the unperturbed forecast.

    reference: (x, y) of that end point. Outputs are a pair: trajectories [n, modes, steps, 2] in
    metres and their probabilities [n, modes].
    """

    reference: tuple[float, float]

    @property
    def name(self) -> str:
        return "shift of the forecast end point"

    def __call__(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        end = most_likely_end(*outputs)
        return (end - torch.as_tensor(self.reference, dtype=end.dtype)).norm(dim=-1)


@dataclass(frozen=True)
class EndPointAgreement:
    """exp(-shift / scale) in (0, 1]: 1 where the most likely end point is the reference.

    What deletion and insertion score. scale (m): the distance from which a forecast counts as
    missed in the usual miss rate. Outputs and reference as `EndPointShift`.
    """

    reference: tuple[float, float]
    scale: float = 2.0

    @property
    def name(self) -> str:
        return "agreement of the forecast end point"

    def __call__(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        return (-EndPointShift(self.reference)(outputs) / self.scale).exp()


@dataclass(frozen=True)
class LateralOffset:
    """Signed offset (m, left positive) of the most likely end point from a line.

    The line goes through `origin` (x, y) in direction `heading` (rad). Outputs as `EndPointShift`.
    """

    origin: tuple[float, float] = (0.0, 0.0)
    heading: float = 0.0

    @property
    def name(self) -> str:
        return "lateral offset of the forecast end point"

    def __call__(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        end = most_likely_end(*outputs)
        left = torch.tensor([-np.sin(self.heading), np.cos(self.heading)], dtype=end.dtype)
        return (end - torch.as_tensor(self.origin, dtype=end.dtype)) @ left


@dataclass(frozen=True)
class Joint:
    """Several targets of one network, explained by the same forwards: returns [n, T]."""

    targets: Sequence[Target]

    @property
    def name(self) -> str:
        return ", ".join(getattr(target, "name", "custom") for target in self.targets)

    def __call__(self, outputs: Any) -> Tensor:
        return torch.stack([target(outputs) for target in self.targets], dim=1)


def region_mean(values: Tensor, region: NDArray[np.bool_]) -> Tensor:
    """Mean [n] of values [n, h, w] over a region [H, W]. Raises ValueError for an empty region."""
    if not region.any():
        raise ValueError("the region to explain is empty: it holds no pixel")
    weights = torch.as_tensor(region, dtype=values.dtype, device=values.device)
    if weights.shape != values.shape[1:]:
        weights = F.interpolate(weights[None, None], values.shape[1:], mode="area")[0, 0]
    return (values * weights).sum((1, 2)) / weights.sum()


def most_likely_end(trajectories: Tensor, probabilities: Tensor) -> Tensor:
    """Last points [n, 2] of the most likely of trajectories [n, modes, steps, 2]."""
    best = probabilities.argmax(1)
    return trajectories[torch.arange(len(best)), best, -1]
