"""RED and RED++: a trained network made smaller without data and without training.

RED: fold batch norms, hash the weights, merge channels. RED++: the same, then split the inputs of
the layers where that is faster. With alpha 0 the function of the hashed network does not change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.compression.folding import as_inputs, fold_batch_norm, observe
from ros_xai.compression.groups import ChannelGroup, channel_groups, is_depthwise
from ros_xai.compression.hashing import HashedTensor, hash_weights, hash_within
from ros_xai.compression.merging import Labels, Linkage, Strategy, alpha_at, merge, similar
from ros_xai.compression.probe import Probe
from ros_xai.compression.report import (
    LayerReport,
    Report,
    layer_costs,
    packed_bytes,
    parameter_count,
    split_count,
)
from ros_xai.compression.shrinking import shrink
from ros_xai.compression.splitting import affine_layers, fastest, splittable

Choose = Callable[[ChannelGroup], Labels]
Apply = Callable[[ChannelGroup, Labels], NDArray[np.bool_]]


class PrunedModel(nn.Module):
    """A compressed network, called as the original is.

    module: the network; report: what changed; classes: the number of classes left of every group of
    channels, by the group's first layer (what another method needs to remove as many).
    """

    def __init__(self, module: nn.Module, report: Report, classes: dict[str, int]) -> None:
        super().__init__()
        self.module, self.report, self.classes = module, report, classes

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)


def red(
    model: nn.Module,
    example_inputs: Any,
    alpha: float = 0.0,
    strategy: Strategy = "constant",
    bandwidth_scale: float = 1.0,
    error_budget: float | None = None,
    linkage: Linkage = "connected",
    multiple: int = 1,
) -> PrunedModel:
    """The model after hashing and output merging; the model itself is not changed.

    example_inputs: a tensor or a tuple of them, as the model is called. alpha: share of pairs of
    channels, the closest ones, that may be merged; 0 merges identical channels only. strategy:
    how alpha is spread over depth (`merging.alpha_at`). error_budget: instead of one bandwidth,
    per layer the coarsest hash within this relative error. linkage, multiple: see
    `merging.similar`.
    Depthwise weights are not hashed: a kernel of nine numbers has nothing to average over.

    Raises ValueError for an alpha outside [0, 1], an unknown strategy or a multiple below 1.
    """
    alpha_at(0.0, alpha, strategy)
    if multiple < 1:
        raise ValueError(f"multiple: expected 1 or more channels; got {multiple}")

    def choose(group: ChannelGroup) -> Labels:
        return similar(group, alpha_at(group.depth, alpha, strategy), linkage, multiple)

    pruned = compress(
        model, example_inputs, choose, hashing=(bandwidth_scale, error_budget), method="red"
    )
    pruned.report = replace(pruned.report, alpha=alpha, strategy=strategy)
    return pruned


def red_pp(
    model: nn.Module,
    example_inputs: Any,
    alpha: float = 0.0,
    strategy: Strategy = "constant",
    bandwidth_scale: float = 1.0,
    error_budget: float | None = None,
    linkage: Linkage = "connected",
    multiple: int = 1,
) -> PrunedModel:
    """`red`, then per layer the fastest of the original and its split forms, as measured here.

    Where no split form is faster the layer stays as it is; the report's ``multiplications`` are
    those of the split layers all the same, and its ``form`` tells which runs.
    """
    pruned = red(
        model, example_inputs, alpha, strategy, bandwidth_scale, error_budget, linkage, multiple
    )
    chosen = _choose_forms(pruned.module, example_inputs)
    layers = tuple(
        replace(layer, form=chosen[layer.name][0], milliseconds=chosen[layer.name][1])
        if layer.name in chosen
        else layer
        for layer in pruned.report.layers
    )
    pruned.report = replace(pruned.report, method="red++", layers=layers)
    return pruned


def compress(
    model: nn.Module,
    example_inputs: Any,
    choose: Choose,
    apply: Apply = merge,
    hashing: tuple[float, float | None] | None = None,
    method: str = "red",
) -> PrunedModel:
    """Fold, hash (bandwidth scale, error budget) if given, and reduce the groups of channels.

    choose: classes of a group's channels; apply: what becomes of them, see `merging.merge`.
    """
    inputs = as_inputs(example_inputs)
    module = fold_batch_norm(model, inputs)
    before = layer_costs(module, inputs)
    parameters_before = parameter_count(module, before)
    layers = affine_layers(module)
    original = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    hashed = {} if hashing is None else hash_layers(module, *hashing)
    groups = channel_groups(module, inputs)
    probe = Probe(module, inputs)
    kept: dict[str, NDArray[np.bool_]] = {}
    classes: dict[str, int] = {}
    for group in groups:
        if group.fixed or group.size < 2:
            continue
        labels = choose(group)
        if labels.max() + 1 < group.size and not probe.merges(group):
            group.fixed = "merging equal channels changes the output"
            continue
        classes[group.name] = int(labels.max()) + 1
        if classes[group.name] < group.size:
            kept[group.name] = apply(group, labels)
    shrink(kept, groups)
    reports = _layer_reports(module, inputs, before, original, hashed)
    used = [report.name for report in reports]
    parameters = parameter_count(module, used)
    saved = sum(
        4 * layer.weight.numel() - packed_bytes(layer.weight.detach())
        for name, layer in layers.items()
        if name in used
    )
    report = Report(
        method, 0.0, "constant", parameters_before, parameters, 4 * parameters_before,
        4 * parameters, 4 * parameters - saved, reports,
        {group.name: group.fixed for group in groups if group.fixed},
    )  # fmt: skip
    return PrunedModel(module, report, classes)


@torch.no_grad()
def hash_layers(
    model: nn.Module, bandwidth_scale: float = 1.0, error_budget: float | None = None
) -> dict[str, HashedTensor]:
    """Hash the weights of all but depthwise layers in place; what came of each, by name."""
    found = {}
    for name, layer in affine_layers(model).items():
        if is_depthwise(layer):
            continue
        if error_budget is None:
            hashed = hash_weights(layer.weight, bandwidth_scale)
        else:
            hashed = hash_within(layer.weight, error_budget)
        layer.weight.copy_(hashed.tensor)
        found[name] = hashed
    return found


def hashed_network(
    model: nn.Module,
    bandwidth_scale: float = 1.0,
    error_budget: float | None = None,
    example_inputs: Any = None,
) -> nn.Module:
    """A folded and hashed copy: what RED at alpha 0, and RED++, leave the function of.

    example_inputs: as in `fold_batch_norm`.
    """
    module = fold_batch_norm(model, example_inputs)
    hash_layers(module, bandwidth_scale, error_budget)
    return module


def _layer_reports(
    module: nn.Module,
    inputs: Any,
    before: dict[str, Any],
    original: dict[str, Tensor],
    hashed: dict[str, HashedTensor],
) -> tuple[LayerReport, ...]:
    after = layer_costs(module, inputs)
    layers = affine_layers(module)
    reports = []
    for name, cost in after.items():
        layer, first = layers[name], original[name]
        hash_ = hashed.get(name)
        reports.append(
            LayerReport(
                name=name,
                macs_before=before[name].macs,
                macs=cost.macs,
                multiplications=split_count(layer, cost.positions),
                distinct_before=len(first.unique()),
                distinct=len(layer.weight.detach().unique()),
                max_error=hash_.max_error if hash_ else 0.0,
                mean_error=hash_.mean_error if hash_ else 0.0,
                rows_before=first.shape[0],
                rows=layer.weight.shape[0],
            )
        )
    return tuple(reports)


def _choose_forms(
    module: nn.Module, example_inputs: Any
) -> dict[str, tuple[str, dict[str, float]]]:
    """Replace layers by their fastest form, in place; form and times of every layer tried."""
    layers = {name: layer for name, layer in affine_layers(module).items() if splittable(layer)}
    seen: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
        for name, layer in layers.items()
    ]
    observe(module, as_inputs(example_inputs), handles)
    chosen = {}
    for name, x in seen.items():
        best, times = fastest(layers[name], x)
        chosen[name] = (getattr(best, "form", "original"), times)
        if best is not layers[name]:
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, copy.deepcopy(best))
    return chosen
