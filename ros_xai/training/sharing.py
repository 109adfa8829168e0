"""Several processes, one training: what a step does with N of them is what it does with one.

Every process makes the same batch and computes the same losses; what is shared out is the costly
part between, the networks. Of a network's batch each process computes every N-th sample, the
outputs are put together, and batch normalisation counts all samples. So losses over the whole batch
(means over valid pixels, penalties between domains, mutual information) are what they are in one
process, which averaging the losses of slices would not give. Gradients are averaged.

A module without an entry in SHARED is computed whole by every process: equal, and no faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ros_xai.depth.network import DepthNetwork
from ros_xai.forecasting.network import Network as ForecastingNetwork
from ros_xai.segmentation.network import SegmentationNetwork
from ros_xai.training.distributed import Process

# The costly methods, whose tensors all have the batch as their first dimension.
SHARED: dict[type[nn.Module], tuple[str, ...]] = {
    DepthNetwork: ("forward",),
    SegmentationNetwork: ("encode",),
    ForecastingNetwork: ("encode", "decode"),
}


@contextmanager
def shared(module: nn.Module, process: Process) -> Iterator[None]:
    """While the block runs, the processes share the networks within `module`, which starts as the
    first process has it; outside of it, and with one process, nothing is changed.

    Raises:
        ValueError: a batch has fewer samples than there are processes.
    """
    if process.size == 1:
        yield
        return
    for tensor in (*module.parameters(), *module.buffers()):
        dist.broadcast(tensor.detach(), 0)
    wrapped: list[tuple[nn.Module, str]] = []
    normalisations: list[nn.Module] = []
    for part in module.modules():
        for kind, methods in SHARED.items():
            if isinstance(part, kind):
                for name in methods:
                    setattr(part, name, _sharing(getattr(part, name), process))
                    wrapped.append((part, name))
        if type(part) is nn.BatchNorm2d:
            part.__class__ = _SharedBatchNorm
            normalisations.append(part)
    try:
        yield
    finally:
        for part, name in wrapped:
            delattr(part, name)  # the class's own method shows again
        for part in normalisations:
            part.__class__ = nn.BatchNorm2d


def average_gradients(parameters: Sequence[nn.Parameter], process: Process) -> None:
    """The mean over the processes in place of each gradient, by one exchange."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if process.size == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= process.size
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


_within = False  # whether a shared method is at work: its tensors are slices of the batch


def _sharing(method: Callable[..., Any], process: Process) -> Callable[..., Any]:
    """The method on this process's samples, its outputs those of all samples."""

    def call(*arguments: Any) -> Any:
        global _within
        samples = {len(tensor) for tensor in tree_leaves(arguments) if isinstance(tensor, Tensor)}
        (count,) = samples
        if count < process.size:
            raise ValueError(f"a batch of {count} for {process.size} processes: make it larger")
        _within = True
        try:
            mine = tree_map_only(Tensor, lambda whole: _Scatter.apply(whole, process), arguments)
            outputs = method(*mine)
        finally:
            _within = False
        return tree_map_only(Tensor, lambda part: _Gather.apply(part, count, process), outputs)

    return call


class _Scatter(torch.autograd.Function):
    """This process's samples of a batch that all have; its gradient is put together from all."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, process: Process) -> Tensor:
        ctx.process, ctx.shape = process, whole.shape
        return whole[process.rank :: process.size].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        process = ctx.process
        whole = gradients[0].new_zeros(ctx.shape)
        whole[process.rank :: process.size] = gradients[0] / process.size  # see _Gather
        dist.all_reduce(whole)
        return whole, None


class _Gather(torch.autograd.Function):
    """Samples rank::size of each process as one batch.

    Losses after it are the same in every process, so no gradient has to travel back; the factor
    undoes the mean that `average_gradients` takes.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, count: int, process: Process) -> Tensor:
        ctx.process = process
        whole = part.new_zeros((count, *part.shape[1:]))
        whole[process.rank :: process.size] = part
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        process = ctx.process
        return gradients[0][process.rank :: process.size] * process.size, None, None


class _Sum(torch.autograd.Function):
    """The sum over the processes, of values and of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' samples, on a CPU as on GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and _within):
            return super().forward(x)
        over = (0, 2, 3)
        count = torch.tensor([x.numel() / x.shape[1]], device=x.device)
        dist.all_reduce(count)
        mean = _Sum.apply(x.sum(over)) / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = _Sum.apply((centred**2).sum(over)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = self.momentum or 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
