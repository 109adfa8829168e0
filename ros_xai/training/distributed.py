"""One process or many: the same calls. `torchrun --nproc-per-node N` makes it many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Process:
    """This process among ``size``; ``device`` is its own GPU when there is one for each."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """The process that writes files and shows progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process goes through the block before the others: they find what it wrote, or
        the error that it found."""
        if not self.is_first:
            self.wait()
        try:
            yield
        finally:
            if self.is_first:
                self.wait()


@contextmanager
def process_group() -> Iterator[Process]:
    """Joins torchrun's processes (nccl with a GPU for each, else gloo); alone without torchrun."""
    if "WORLD_SIZE" not in os.environ:
        yield Process(device="cuda" if torch.cuda.is_available() else "cpu")
        return
    local, size = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    # Of all processes of this machine, or some would wait in nccl and the others in gloo.
    gpu = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if gpu:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Process(dist.get_rank(), size, f"cuda:{local}" if gpu else "cpu")
    finally:
        dist.destroy_process_group()
