"""Whether merging equal channels of a group leaves a network's outputs as they are, by trying it.

A dependency graph tells which channels belong together, but not what is between them: a softmax
over channels, a slice or a shuffle does not commute with merging. So equal channels are planted in
a copy, merged, and the outputs compared.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ros_xai.compression.groups import ChannelGroup, Inputs
from ros_xai.compression.merging import Labels, merge, row_tensors

_TOLERANCE = 1e-6  # relative, in float64


class Probe:
    """A float64 copy of a network in which groups are tried, on random inputs in [0, 1)."""

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        generator = torch.Generator().manual_seed(0)

        def random(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return value
            return torch.rand(value.shape, generator=generator, dtype=torch.float64)

        self.model = copy.deepcopy(model).double()
        self.inputs = tree_map(random, inputs)

    @torch.no_grad()
    def merges(self, group: ChannelGroup) -> bool:
        """Channels made equal at random, then merged: do the outputs stay the same?"""
        find = self.model.get_submodule
        mine = replace(
            group,
            producers=[replace(member, layer=find(member.name)) for member in group.producers],
            consumers=[replace(member, layer=find(member.name)) for member in group.consumers],
        )
        layers = {member.layer for member in [*mine.producers, *mine.consumers]}
        saved = [(t, t.clone()) for layer in layers for t in row_tensors(layer)]
        try:
            labels = _drawn(group)
            first = torch.from_numpy(np.unique(labels, return_index=True)[1][labels])
            for member in mine.producers:
                for tensor in row_tensors(member.layer):
                    tensor[member.places] = tensor[member.places[first]]
            planted = self._outputs()
            merge(mine, labels)
            merged = self._outputs()
        finally:
            for tensor, value in saved:
                tensor.copy_(value)
        return all(_same(a, b) for a, b in zip(planted, merged))

    def _outputs(self) -> list[Tensor]:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # of what the model makes of integers
        try:
            leaves = tree_leaves(self.model(*self.inputs))
        finally:
            torch.set_default_dtype(before)
        return [leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)]


def _drawn(group: ChannelGroup) -> Labels:
    """Of every three channels of a block, drawn with a fixed seed, two share a class.

    Neighbours, or pairs alone, would be carried over to each other by a roll or a swap of halves.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(group.size)
    blocks = group.blocks.numpy()
    for block in np.unique(blocks):
        channels = rng.permutation(np.flatnonzero(blocks == block))
        labels[channels] = channels[np.arange(len(channels)) * 2 // 3]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _same(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    scale = float(a.abs().max()) if a.numel() else 0.0
    return bool(a.isfinite().all()) and float((a - b).abs().max()) <= _TOLERANCE * max(scale, 1e-12)
