"""Channels that can only be removed together, by the dependency graph of torch-pruning.

A group is a number of channels and, for every layer they touch, where they are in it: as rows of
the layers that make them, as columns of those that read them. Additions, concatenations,
depthwise convolutions and reshapes tie layers together.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from ros_xai.compression.folding import CONVOLUTIONS, NORMS, TRANSPOSED, Inputs, as_inputs, observe


@dataclass(frozen=True)
class Member:
    """A layer and the places [n, r] of a group's n channels in it, r of each (after a flatten)."""

    name: str
    layer: nn.Module
    places: Tensor


@dataclass
class ChannelGroup:
    """n channels that are removed together.

    producers: layers whose rows make the channels, depthwise ones and batch norms included;
    consumers: layers that read them by columns; depth: 0 at the input to 1 at the output;
    blocks [n]: only channels of the same block may be merged, and as many of each block removed
    (grouped convolutions); fixed: why the group must stay as it is, else empty.
    """

    size: int
    producers: list[Member] = field(default_factory=list)
    consumers: list[Member] = field(default_factory=list)
    depth: float = 0.0
    blocks: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    fixed: str = ""

    @property
    def name(self) -> str:
        return self.producers[0].name


def is_depthwise(layer: nn.Module) -> bool:
    """One kernel per channel, as many channels out as in."""
    return (
        isinstance(layer, CONVOLUTIONS)
        and layer.groups > 1
        and layer.groups == layer.in_channels == layer.out_channels
    )


def channel_groups(model: nn.Module, example_inputs: Any) -> list[ChannelGroup]:
    """The groups of a model in evaluation mode, from its input to its output.

    Recurrent parts, and those that use a layer with weights more than once, are not looked at as a
    whole: only the parts inside of them that run once are, with what leaves those taken as outputs.
    """
    run = _execution(model, as_inputs(example_inputs))
    groups = [
        group
        for prefix, part, inputs in _parts(model, "", run)
        for group in _groups_of(part, inputs, prefix)
    ]
    for group in groups:
        group.producers.sort(key=lambda member: run.order.get(member.layer, 0))
    groups.sort(key=lambda group: run.order.get(group.producers[0].layer, 0))
    for number, group in enumerate(groups):
        group.depth = number / max(1, len(groups) - 1)
    return groups


@dataclass
class _Run:
    """One call of a model: when each module ran first, how often, and its arguments."""

    order: dict[nn.Module, int] = field(default_factory=dict)
    calls: Counter[nn.Module] = field(default_factory=Counter)
    inputs: dict[nn.Module, Inputs] = field(default_factory=dict)


def _execution(model: nn.Module, inputs: Inputs) -> _Run:
    run = _Run()

    def hook(module: nn.Module, arguments: Inputs, named: dict[str, Any]) -> None:
        run.order.setdefault(module, len(run.order))
        run.calls[module] += 1
        if not named:
            run.inputs.setdefault(module, arguments)

    handles = [
        module.register_forward_pre_hook(hook, with_kwargs=True) for module in model.modules()
    ]
    observe(model, inputs, handles)
    return run


def _parts(model: nn.Module, prefix: str, run: _Run) -> Iterator[tuple[str, nn.Module, Inputs]]:
    """The largest parts that can be looked at as a whole, their prefix and arguments."""
    if isinstance(model, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear, nn.RNNBase)):
        return
    whole = not any(
        isinstance(part, nn.RNNBase)
        or (run.calls[part] > 1 and next(part.parameters(), None) is not None)
        for part in model.modules()
    )
    if whole and model in run.inputs:
        yield prefix, model, run.inputs[model]
        return
    for name, child in model.named_children():
        yield from _parts(child, f"{prefix}{name}.", run)


def _groups_of(part: nn.Module, inputs: Inputs, prefix: str) -> Iterator[ChannelGroup]:
    types = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
    if not any(isinstance(layer, types) for layer in part.modules()):
        return
    with _differentiable(part), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bare parameters, whose groups are left alone
        graph = torch_pruning.DependencyGraph().build_dependency(part, example_inputs=inputs)
        names = {module: prefix + name for name, module in part.named_modules()}
        for items in graph.get_all_groups(root_module_types=types):
            group = _group(graph, items, names)
            if group is not None:
                yield group


def _group(graph: Any, items: Any, names: dict[nn.Module, str]) -> ChannelGroup | None:
    root, size = items[0].dep.target.module, len(items[0].idxs)
    if root not in names:
        return None
    channels = int(graph.get_out_channels(root))
    if size != channels:  # torch-pruning takes what a split gives for parts of its own
        whole = Member(names[root], root, torch.arange(channels)[:, None])
        return ChannelGroup(channels, [whole], fixed=f"{whole.name}: channels are not whole")
    group = ChannelGroup(size)
    for item in items:
        dep = item.dep
        layer, handler = dep.target.module, dep.handler
        if isinstance(layer, nn.Parameter):
            group.fixed = "a parameter outside of a layer"
            continue
        if isinstance(layer, torch_pruning.ops._OutputOp):
            group.fixed = "an output of the network"
        if layer not in names:
            continue
        places = _places(item.idxs, item.root_idxs, size)
        if places is None:
            group.fixed = f"{names.get(layer, layer)}: channels are not whole"
            continue
        member = Member(names.get(layer, ""), layer, places)
        if is_depthwise(layer) or isinstance(layer, NORMS):
            if all(member.layer is not other.layer for other in group.producers):
                group.producers.append(member)
        elif not isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            group.fixed = f"{member.name}: {type(layer).__name__}"
        elif graph.is_out_channel_pruning_fn(handler):
            group.producers.append(member)
        else:
            group.consumers.append(member)
    if not group.producers:
        return None
    _check(group)
    _set_blocks(group)
    return group


def _check(group: ChannelGroup) -> None:
    """Fixes a group whose channels are not all read, or not as they are made."""
    if not group.consumers:
        group.fixed = group.fixed or "an output of the network"
    elif not all(member.places.numel() == row_count(member.layer) for member in group.producers):
        group.fixed = group.fixed or "some channels of a layer have another use"
    for members, count in ((group.producers, row_count), (group.consumers, column_count)):
        for member in members:
            if int(member.places.max()) >= count(member.layer):  # behind a pixel shuffle, a GLU
                group.fixed = f"{member.name}: channels are not whole"


def _places(idxs: list[int], roots: list[int], size: int) -> Tensor | None:
    """[n, r] from torch-pruning's pairs of place and root channel."""
    lists: list[list[int]] = [[] for _ in range(size)]
    for place, root in zip(idxs, roots):
        lists[root].append(place)
    if len({len(each) for each in lists}) != 1 or not lists[0]:
        return None
    return torch.tensor(lists)


def row_count(layer: nn.Module) -> int:
    """Channels that a layer makes."""
    return int(layer.num_features if isinstance(layer, NORMS) else layer.weight.shape[0])


def column_count(layer: nn.Module) -> int:
    """Channels that a layer reads."""
    return int(layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)


def _set_blocks(group: ChannelGroup) -> None:
    """Which channels share the weights of grouped convolutions."""
    group.blocks = torch.zeros(group.size, dtype=torch.long)
    for members, count in ((group.producers, "out_channels"), (group.consumers, "in_channels")):
        for member in members:
            layer = member.layer
            if not isinstance(layer, CONVOLUTIONS) or layer.groups == 1 or is_depthwise(layer):
                continue
            blocks = member.places[:, 0] // (getattr(layer, count) // layer.groups)
            if member.places.shape[1] > 1 or (
                group.blocks.any() and (blocks != group.blocks).any()
            ):
                group.fixed = group.fixed or f"{member.name}: groups of different sizes meet"
            group.blocks = blocks


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[None]:
    """The graph is read from autograd, which needs parameters that require gradients."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in wanted:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter, before in wanted:
            parameter.requires_grad_(before)
