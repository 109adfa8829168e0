"""Output merging of RED (arXiv 2105.14797, section 3.2): channels that compute the same, or almost.

The channels of a group are compared by all that makes them: their rows in every layer that is tied,
each layer scaled to rows of unit norm, biases included as one more weight. One channel stands for
its class: it takes the mean of the rows, and in every consumer the class's columns are summed.
Element-wise activations commute with that.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster
from scipy.cluster.hierarchy import linkage as hierarchy
from scipy.spatial.distance import squareform
from torch import Tensor, nn

from ros_xai.compression.groups import ChannelGroup, Member

Strategy = Literal["constant", "increasing", "decreasing", "blocks"]
Linkage = Literal["connected", "complete"]
Labels = NDArray[np.int64]


def alpha_at(depth: float, alpha: float, strategy: Strategy) -> float:
    """Share of pairs that may be merged at a depth in [0, 1], at most 1; up to an alpha of 1/2 its
    mean over depth is ``alpha``.

    constant; linearly increasing from 0, or decreasing to 0; blocks: 1/2, 1 and 3/2 of ``alpha`` in
    the first, second and last third.
    """
    shares = {
        "constant": alpha,
        "increasing": 2 * alpha * depth,
        "decreasing": 2 * alpha * (1 - depth),
        "blocks": alpha * (0.5 + 0.5 * min(2, int(3 * depth))),
    }
    if strategy not in shares:
        raise ValueError(f"strategy: expected one of {', '.join(shares)}; got {strategy!r}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a share of pairs in [0, 1]; got {alpha}")
    return min(1.0, shares[strategy])


def rows(group: ChannelGroup) -> Tensor:
    """All that makes each channel, float64 [n, d]: rows of the tied layers side by side.

    Every layer is divided by the root mean square norm of its rows, biases by their own scale, so
    that no layer outweighs another.
    """
    parts = []
    for member in group.producers:
        for tensor in row_tensors(member.layer):
            part = tensor.detach().double()[member.places].reshape(group.size, -1)
            scale = part.pow(2).sum(1).mean().sqrt()
            parts.append(part / scale if scale > 0 else part)
    return torch.cat(parts, dim=1)


def row_tensors(layer: nn.Module) -> list[Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    found = [getattr(layer, name, None) for name in names]
    return [tensor for tensor in found if tensor is not None]


def identical(group: ChannelGroup) -> Labels:
    """The class [n] of each channel: the same number where all rows and biases are equal."""
    _, labels = torch.unique(_with_blocks(rows(group), group.blocks), dim=0, return_inverse=True)
    return _even(labels.numpy().astype(np.int64), group.blocks)


def similar(
    group: ChannelGroup, alpha: float, linkage: Linkage = "connected", multiple: int = 1
) -> Labels:
    """Classes [n] by the share ``alpha`` of the closest pairs.

    connected: connected components of those pairs, as RED has it; complete: every pair of a class
    is among them, so that a chain of neighbours does not become one class. Identical channels are
    one class at any alpha. multiple: where it does not divide the classes, as many more are kept
    apart, the farthest ones, until it does or all are kept: a vector register takes as long for 9
    numbers as for 16.
    """
    classes = identical(group)
    n = group.size
    budget = int(alpha * (n * (n - 1) // 2))
    if not budget:
        return classes
    points = rows(group)
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    distance[classes[:, None] == classes] = 0.0
    distance[(group.blocks[:, None] != group.blocks).numpy()] = 1e9
    condensed = squareform(distance, checks=False)
    threshold = min(np.partition(condensed, budget - 1)[budget - 1], 1e8)
    tree = hierarchy(condensed, "single" if linkage == "connected" else "complete")
    labels = fcluster(tree, threshold, criterion="distance")
    if spare := -int(labels.max()) % multiple:
        wanted = min(n, int(labels.max()) + spare)
        labels = fcluster(tree, wanted, criterion="maxclust")
    return _even(labels.astype(np.int64), group.blocks)


def _with_blocks(points: Tensor, blocks: Tensor) -> Tensor:
    return torch.cat([points, blocks[:, None].double()], dim=1)


def _first_of(labels: Labels) -> Labels:
    """For every class the number of its first channel."""
    return np.unique(labels, return_index=True)[1]


def _even(labels: Labels, blocks: Tensor) -> Labels:
    """Numbers from 0 without gaps; in blocks of a grouped convolution as many classes in each."""
    block = blocks.numpy()
    kept = [len(np.unique(labels[block == b])) for b in np.unique(block)]
    if len(set(kept)) > 1:
        labels = labels.copy()
        for b in np.unique(block):
            _release(labels, np.flatnonzero(block == b), max(kept))
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _release(labels: Labels, channels: NDArray[np.int64], wanted: int) -> None:
    """Take channels out of their classes, the last ones first, until ``wanted`` classes are."""
    for channel in channels[::-1]:
        mine = labels[channels]
        if len(np.unique(mine)) == wanted:
            return
        if np.count_nonzero(mine == labels[channel]) > 1:
            labels[channel] = labels.max() + 1


def kept_channels(labels: Labels) -> NDArray[np.bool_]:
    """[n]: the first channel of every class stays."""
    kept = np.zeros(len(labels), dtype=bool)
    kept[_first_of(labels)] = True
    return kept


@torch.no_grad()
def merge(group: ChannelGroup, labels: Labels) -> NDArray[np.bool_]:
    """Merge the classes in place; what is not kept becomes zero. Returns the channels kept [n].

    The representative's rows are the mean of its class's, its columns their sum.
    """
    kept = kept_channels(labels)
    classes = torch.from_numpy(labels)
    size = torch.bincount(classes).double()
    first = torch.from_numpy(_first_of(labels))
    for member in group.producers:
        for tensor in row_tensors(member.layer):
            _combine(tensor, member, classes, first, size)
    for member in group.consumers:
        _combine(columns(member.layer), member, classes, first, None)
    return kept


def _combine(
    tensor: Tensor, member: Member, classes: Tensor, first: Tensor, size: Tensor | None
) -> None:
    """Sums (means where ``size`` is given) of slices along the first axis, per class."""
    repeats = member.places.shape[1]
    values = tensor[member.places].double()  # [n, r, ...]
    total = values.new_zeros(len(first), *values.shape[1:]).index_add_(0, classes, values)
    if size is not None:
        total /= size.reshape(-1, *(1,) * (values.ndim - 1))
        alone = size == 1  # the very same number, not one that went through float64
        total[alone] = values[first[alone]]
    tensor[member.places.reshape(-1)] = 0
    places = member.places[first].reshape(-1)
    tensor[places] = total.reshape(len(first) * repeats, *tensor.shape[1:]).to(tensor.dtype)


@torch.no_grad()
def remove(group: ChannelGroup, kept: NDArray[np.bool_]) -> None:
    """Zero rows and columns of the channels that are not kept: magnitude pruning."""
    gone = torch.from_numpy(~kept)
    for member in group.producers:
        for tensor in row_tensors(member.layer):
            tensor[member.places[gone].reshape(-1)] = 0
    for member in group.consumers:
        columns(member.layer)[member.places[gone].reshape(-1)] = 0


def columns(layer: nn.Module) -> Tensor:
    """A view of the layer's weights with its input channels first.

    In grouped convolutions a channel is a column of its own group's rows only.
    """
    weight = layer.weight
    groups = getattr(layer, "groups", 1)
    if groups == 1:
        return weight.transpose(0, 1)
    blocks = weight.view(groups, weight.shape[0] // groups, *weight.shape[1:])
    return _GroupedColumns(blocks)  # type: ignore[return-value]


class _GroupedColumns:
    """Input channels first of weights [groups, rows, columns, ...]: indexing by tensors only."""

    def __init__(self, blocks: Tensor) -> None:
        self.blocks, self.columns = blocks, blocks.shape[2]
        self.shape = torch.Size(
            [blocks.shape[0] * self.columns, blocks.shape[1], *blocks.shape[3:]]
        )
        self.dtype = blocks.dtype

    def __getitem__(self, places: Tensor) -> Tensor:
        return self.blocks[places // self.columns, :, places % self.columns]

    def __setitem__(self, places: Tensor, values: Tensor | float) -> None:
        self.blocks[places // self.columns, :, places % self.columns] = values
