"""The backend is one for all processes of a machine."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
import torch.distributed as dist

from ros_xai.training.distributed import Process, process_group


@pytest.mark.parametrize(
    ("gpus", "backend", "devices"),
    [(0, "gloo", ["cpu"] * 2), (1, "gloo", ["cpu"] * 2), (2, "nccl", ["cuda:0", "cuda:1"])],
)
def test_processes_have_gpus_when_there_is_one_for_each(monkeypatch, gpus, backend, devices):
    joined: list[tuple[str, int | None]] = []
    current: list[int | None] = [None]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: current.append(index))
    monkeypatch.setattr(dist, "init_process_group", lambda name: joined.append((name, current[-1])))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    found = []
    for rank in range(2):
        monkeypatch.setattr(dist, "get_rank", lambda r=rank: r)
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        current[:] = [None]
        with process_group() as process:
            found.append(process.device)
    assert found == devices
    assert joined == [(backend, rank if backend == "nccl" else None) for rank in range(2)]


def test_without_word_of_this_machine_all_processes_are_on_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(dist, "init_process_group", lambda name: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with process_group() as process:
        assert process.device == "cpu"


@pytest.mark.parametrize("error", [None, ValueError("no such folder")])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_goes_before_the_others_even_into_an_error(monkeypatch, rank, error):
    happened = []
    monkeypatch.setattr(dist, "barrier", lambda: happened.append("wait"))
    with suppress(ValueError), Process(rank, 2).in_turn():
        happened.append("block")
        if error:
            raise error
    # Without the first one's wait the others would end in a broken connection.
    assert happened == (["block", "wait"] if rank == 0 else ["wait", "block"])
