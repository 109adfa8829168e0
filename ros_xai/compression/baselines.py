"""What RED is compared with at equal parameters: magnitude pruning and random merging, no data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ros_xai.compression.groups import ChannelGroup
from ros_xai.compression.merging import Labels, remove, rows
from ros_xai.compression.pruning import PrunedModel, compress


def l1_pruning(model: nn.Module, example_inputs: Any, like: PrunedModel) -> PrunedModel:
    """Structured magnitude pruning (Li et al., ICLR 2017): the channels of least L1 norm removed.

    As many of every group as ``like`` has lost, so that parameters and operations are the same.
    """

    def choose(group: ChannelGroup) -> Labels:
        norms = rows(group).abs().sum(1).numpy()
        kept = _chosen(group, like, lambda channels: channels[np.argsort(-norms[channels])])
        labels = np.where(kept, 0, np.flatnonzero(kept)[0])
        labels[kept] = np.arange(kept.sum())
        labels[~kept] = 0
        return labels

    def apply(group: ChannelGroup, labels: Labels) -> NDArray[np.bool_]:
        norms = rows(group).abs().sum(1).numpy()
        kept = _chosen(group, like, lambda channels: channels[np.argsort(-norms[channels])])
        remove(group, kept)
        return kept

    return compress(model, example_inputs, choose, apply, method="l1")


def random_merging(
    model: nn.Module, example_inputs: Any, like: PrunedModel, seed: int = 0
) -> PrunedModel:
    """Merging as in RED, of channels drawn at random: as many of every group as ``like`` lost."""
    rng = np.random.default_rng(seed)

    def choose(group: ChannelGroup) -> Labels:
        kept = _chosen(group, like, rng.permutation)
        labels = np.full(group.size, -1)
        labels[kept] = np.arange(kept.sum())
        blocks = group.blocks.numpy()
        for channel in np.flatnonzero(~kept):
            labels[channel] = rng.choice(labels[kept & (blocks == blocks[channel])])
        return labels

    return compress(model, example_inputs, choose, method="random")


def _chosen(group: ChannelGroup, like: PrunedModel, ranked: Any) -> NDArray[np.bool_]:
    """Channels [n] kept: of every block the first ones of its ranking."""
    blocks = group.blocks.numpy()
    names = np.unique(blocks)
    wanted = like.classes.get(group.name, group.size) // len(names)
    kept = np.zeros(group.size, dtype=bool)
    for name in names:
        kept[ranked(np.flatnonzero(blocks == name))[:wanted]] = True
    return kept
