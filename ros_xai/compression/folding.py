"""Batch norms folded into the convolution or linear layer before them, exactly.

In evaluation mode y = g (W x + b - mean) / sqrt(var + eps) + beta is one affine layer.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Tracer
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AFFINE = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Inputs = tuple[Any, ...]
OWN = {kind.forward for kind in AFFINE}


def as_inputs(example: Any) -> Inputs:
    """The arguments of a call."""
    return tuple(example) if isinstance(example, list | tuple) else (example,)


def observe(model: nn.Module, inputs: Inputs, handles: Iterable[RemovableHandle]) -> None:
    """Calls the model once, without gradients, for the hooks of `handles`, and takes them off."""
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()


def fold_batch_norm(model: nn.Module, example_inputs: Any = None) -> nn.Module:
    """A copy of the model in evaluation mode, every foldable batch norm an identity.

    A norm can be folded where it alone reads the output of one layer, which is used once and has
    its weight for itself. Where Python control flow keeps torch.fx from tracing the model, its
    parts are traced one by one. The others stay as they are, as do those behind a layer with a
    forward of its own (`is_plain`). Weights that a parametrization computes are plain ones in the
    copy.

    example_inputs: a tensor or a tuple of them, as the model is called. A norm normalises axis 1,
    which are a linear layer's features where its output is [B, features] and not where it is
    [B, n, features]: without a call that tells, norms behind linear layers stay.
    """
    folded = copy.deepcopy(model).eval()
    _compute_weights(folded)
    pairs = _pairs(folded)
    ranks = {} if example_inputs is None or not pairs else _ranks(folded, as_inputs(example_inputs))
    owners = Counter(id(p) for part in folded.modules() for p in part.parameters(recurse=False))
    for affine, norm in pairs:
        layer, batch_norm = folded.get_submodule(affine), folded.get_submodule(norm)
        assert isinstance(layer, AFFINE) and isinstance(batch_norm, NORMS)
        rank = ranks.get(layer, None if isinstance(layer, nn.Linear) else layer.weight.ndim)
        if rank != layer.weight.ndim or owners[id(layer.weight)] != 1:
            continue
        _fold(layer, batch_norm)
        parent, _, name = norm.rpartition(".")
        setattr(folded.get_submodule(parent), name, nn.Identity())
    return folded


def is_plain(layer: nn.Module) -> bool:
    """An affine layer that applies its weight as torch does, after `static_padding` at most
    (TensorFlow's "same"): a subclass may do anything with it, such as standardise it first."""
    return isinstance(layer, AFFINE) and (
        type(layer).forward in OWN or hasattr(layer, "static_padding")
    )


def _compute_weights(model: nn.Module) -> None:
    """Weights that a parametrization computes (weight norm, spectral norm) become plain ones: what
    is written into a computed tensor is lost."""
    for part in list(model.modules()):
        if not parametrize.is_parametrized(part):
            continue
        computed = {name: getattr(part, name).detach().clone() for name in part.parametrizations}
        # Not remove_parametrizations: copies share their class, so it would break the original.
        part.__class__ = type(part).__bases__[0]
        del part.parametrizations
        for name, value in computed.items():
            setattr(part, name, nn.Parameter(value))


def _ranks(model: nn.Module, inputs: Inputs) -> dict[nn.Module, int]:
    """Axes of the outputs of the layers that a call runs."""
    ranks: dict[nn.Module, int] = {}

    def hook(layer: nn.Module, _: Any, output: Tensor) -> None:
        ranks[layer] = output.ndim

    handles = [
        part.register_forward_hook(hook) for part in model.modules() if isinstance(part, AFFINE)
    ]
    observe(model, inputs, handles)
    return ranks


class _LayerTracer(Tracer):
    """Sees layers as they are, subclasses with a forward of their own (same padding) too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*AFFINE, *NORMS)) or super().is_leaf_module(m, module_qualified_name)


def _pairs(model: nn.Module, prefix: str = "") -> list[tuple[str, str]]:
    """Names of layers with the batch norm behind each."""
    if isinstance(model, (*AFFINE, *NORMS)) or not any(
        isinstance(part, NORMS) for part in model.modules()
    ):
        return []
    try:
        graph = _LayerTracer().trace(model)
    except Exception:  # whatever a model's own Python raises when its tensors are symbols
        return [
            pair
            for name, child in model.named_children()
            for pair in _pairs(child, f"{prefix}{name}.")
        ]
    return [(prefix + a, prefix + b) for a, b in _pairs_of(graph, model)]


def _pairs_of(graph: Graph, model: nn.Module) -> list[tuple[str, str]]:
    modules = dict(model.named_modules())
    calls = Counter(id(modules[str(n.target)]) for n in graph.nodes if n.op == "call_module")
    opened = {str(n.target).rpartition(".")[0] for n in graph.nodes if n.op == "get_attr"}
    found = []
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[str(node.target)], NORMS):
            continue
        before = next(iter(node.all_input_nodes), None)  # by position or by name
        if before is None or before.op != "call_module" or len(before.users) > 1:
            continue
        layer, norm = modules[str(before.target)], modules[str(node.target)]
        used_once = calls[id(layer)] == calls[id(norm)] == 1
        if opened & {before.target, node.target}:  # something reads their parameters directly
            continue
        if is_plain(layer) and used_once and norm.running_mean is not None:
            found.append((str(before.target), str(node.target)))
    return found


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gain = torch.ones_like(mean) if norm.weight is None else norm.weight.double()
    shift = torch.zeros_like(mean) if norm.bias is None else norm.bias.double()
    scale = gain / (variance + norm.eps).sqrt()
    weight = layer.weight
    if isinstance(layer, TRANSPOSED):  # [in, out / groups, ...], groups one after the other
        per_group = scale.reshape(layer.groups, 1, -1)
        blocks = weight.double().reshape(layer.groups, -1, *weight.shape[1:])
        tail = (1,) * (weight.ndim - 2)
        scaled = (blocks * per_group.reshape(*per_group.shape, *tail)).reshape(weight.shape)
    else:
        scaled = weight.double() * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
    weight.copy_(scaled)
    folded = ((bias - mean) * scale + shift).to(weight.dtype)
    layer.bias = nn.Parameter(folded, requires_grad=weight.requires_grad)
