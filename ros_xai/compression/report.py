"""What a compression costs and saves: everything together, never one figure without the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ros_xai.compression.folding import as_inputs, observe
from ros_xai.compression.groups import is_depthwise
from ros_xai.compression.splitting import affine_layers, split_multiplications


@dataclass(frozen=True)
class LayerReport:
    """One layer after compression; ``before`` figures are those of the folded original.

    macs and multiplications: per call on the example inputs; multiplications are those left when
    every distinct kernel of an input channel is applied once. distinct: values of the weights.
    max_error, mean_error: of hashing. form: original, pointwise or gather; milliseconds: of each
    form tried. removed: channels that its rows lost.
    """

    name: str
    macs_before: int
    macs: int
    multiplications: int
    distinct_before: int
    distinct: int
    max_error: float
    mean_error: float
    rows_before: int
    rows: int
    form: str = "original"
    milliseconds: Mapping[str, float] | None = None


@dataclass(frozen=True)
class OutputError:
    """Of all outputs over the images: max and mean of |f - g|, and ||f - g|| / ||f||."""

    maximum: float
    mean: float
    relative: float


@dataclass(frozen=True)
class Report:
    """A compressed network beside its original.

    bytes: float32 weights and biases; packed_bytes: hashed weights as codes into a table of their
    values, where that is less. What needs data or a machine is filled in by `completed`: output
    error and metric (name, before, after) on real images, latency per engine (median ms before and
    after, and the median of the paired ratios before / after).
    """

    method: str
    alpha: float
    strategy: str
    parameters_before: int
    parameters: int
    bytes_before: int
    bytes: int
    packed_bytes: int
    layers: tuple[LayerReport, ...]
    left_alone: Mapping[str, str]
    output_error: OutputError | None = None
    metric: Mapping[str, float | str] | None = None
    latency: Mapping[str, Mapping[str, float]] | None = None

    @property
    def macs_before(self) -> int:
        return sum(layer.macs_before for layer in self.layers)

    @property
    def macs(self) -> int:
        """Of the network as dense layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def multiplications(self) -> int:
        """With every layer split, whether or not that is faster."""
        return sum(layer.multiplications for layer in self.layers)

    @property
    def distinct_before(self) -> int:
        return sum(layer.distinct_before for layer in self.layers)

    @property
    def distinct(self) -> int:
        return sum(layer.distinct for layer in self.layers)

    def completed(
        self,
        output_error: OutputError | None,
        metric: Mapping[str, float | str] | None,
        latency: Mapping[str, Mapping[str, float]],
    ) -> Report:
        """With what was measured on data, where there was any, and on this machine."""
        return replace(self, output_error=output_error, metric=metric, latency=latency)

    def figures(self, layers: bool = False) -> dict[str, Any]:
        """As JSON values; what was not measured says so."""
        names = ("macs_before", "macs", "multiplications", "distinct_before", "distinct")
        found = {**asdict(self), **{name: getattr(self, name) for name in names}}
        found["split_layers"] = sum(layer.form != "original" for layer in self.layers)
        if not layers:
            del found["layers"]
        for name in ("output_error", "metric", "latency"):
            if found[name] is None:
                found[name] = "not measured"
        return found


@dataclass(frozen=True)
class Cost:
    """Of one layer in one call: multiply-accumulates and output positions."""

    macs: int
    positions: int


def layer_costs(model: nn.Module, example_inputs: Any) -> dict[str, Cost]:
    """Costs of the convolutions and linear layers that a call runs."""
    costs: dict[str, Cost] = {}
    handles = []
    for name, layer in affine_layers(model).items():

        def hook(layer: nn.Module, _: Any, output: Tensor, name: str = name) -> None:
            positions = output.numel() // layer.weight.shape[0]
            before = costs.get(name, Cost(0, 0))
            macs = positions * layer.weight.numel()
            costs[name] = Cost(before.macs + macs, before.positions + positions)

        handles.append(layer.register_forward_hook(hook))
    observe(model, as_inputs(example_inputs), handles)
    return costs


def parameter_count(model: nn.Module, used: Iterable[str]) -> int:
    """Weights and biases of the named layers, and of everything that is not such a layer."""
    used = set(used)
    unused = [layer for name, layer in affine_layers(model).items() if name not in used]
    skipped = {id(p) for layer in unused for p in layer.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in skipped)


def packed_bytes(weight: Tensor) -> int:
    """The lesser of float32 and codes of ceil(log2 m) bits into a table of m float32 values."""
    distinct = len(weight.unique())
    bits = max(1, math.ceil(math.log2(max(2, distinct))))
    return min(4 * weight.numel(), 4 * distinct + math.ceil(bits * weight.numel() / 8))


def output_error(
    original: Callable[..., Any], compressed: Callable[..., Any], images: Iterable[Any]
) -> OutputError:
    """Error of all floating-point outputs over the calls' inputs."""
    largest = total = count = squares = reference = 0.0
    with torch.inference_mode():
        for inputs in images:
            arguments = as_inputs(inputs)
            for a, b in zip(tree_leaves(original(*arguments)), tree_leaves(compressed(*arguments))):
                if not a.is_floating_point():
                    continue
                difference = (a.double() - b.double()).abs()
                largest = max(largest, float(difference.max()))
                total, count = total + float(difference.sum()), count + difference.numel()
                squares += float(difference.square().sum())
                reference += float(a.double().square().sum())
    if not count:
        raise ValueError("expected at least one image and one floating-point output")
    return OutputError(largest, total / count, math.sqrt(squares / max(reference, 1e-300)))


def split_count(layer: nn.Module, positions: int) -> int:
    """Multiplications of one call when the layer is split."""
    if is_depthwise(layer):
        return positions * int(layer.weight.numel())
    return positions * split_multiplications(layer)
