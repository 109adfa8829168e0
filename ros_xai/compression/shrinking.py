"""Removed channels taken out of the layers: smaller tensors, the same function."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ros_xai.compression.folding import NORMS
from ros_xai.compression.groups import ChannelGroup, column_count, is_depthwise, row_count


def shrink(kept: dict[str, NDArray[np.bool_]], groups: list[ChannelGroup]) -> None:
    """Take what is not kept out of the layers, in place; ``kept`` by group name."""
    rows_of: dict[int, tuple[nn.Module, Tensor]] = {}
    columns_of: dict[int, tuple[nn.Module, Tensor]] = {}
    for group in groups:
        if group.name not in kept or kept[group.name].all():
            continue
        gone = torch.from_numpy(~kept[group.name])
        for masks, members in ((rows_of, group.producers), (columns_of, group.consumers)):
            for member in members:
                count = (row_count if masks is rows_of else column_count)(member.layer)
                _, mask = masks.setdefault(
                    id(member.layer), (member.layer, torch.ones(count, dtype=torch.bool))
                )
                mask[member.places[gone].reshape(-1)] = False
    for layer, mask in rows_of.values():
        _keep_rows(layer, mask)
    for layer, mask in columns_of.values():
        _keep_columns(layer, mask)


def _keep_rows(layer: nn.Module, mask: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(layer, name, None)
        if tensor is not None:
            _replace(layer, name, tensor[mask])
    count = int(mask.sum())
    if isinstance(layer, NORMS):
        layer.num_features = count
    elif isinstance(layer, nn.Linear):
        layer.out_features = count
    else:
        if is_depthwise(layer):
            layer.groups = layer.in_channels = count
        layer.out_channels = count


def _keep_columns(layer: nn.Module, mask: Tensor) -> None:
    count = int(mask.sum())
    if isinstance(layer, nn.Linear):
        layer.in_features = count
    else:
        layer.in_channels = count
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.detach()
    if groups == 1:
        _replace(layer, "weight", weight[:, mask])
        return
    blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    parts = [block[:, keep] for block, keep in zip(blocks, mask.reshape(groups, -1))]
    _replace(layer, "weight", torch.cat(parts))


def _replace(layer: nn.Module, name: str, tensor: Tensor) -> None:
    tensor = tensor.detach().clone().contiguous()
    if isinstance(getattr(layer, name), nn.Parameter):
        before = getattr(layer, name)
        setattr(layer, name, nn.Parameter(tensor, requires_grad=before.requires_grad))
    else:
        setattr(layer, name, tensor)
