"""Checkpoints without pickles: tensors as safetensors, the rest as JSON, never half-written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

STATE = "state.json"


class AnotherRun(ValueError):
    """The folder holds the checkpoint of a run that would not have become the one asked for."""

    def __init__(self, folder: Path, difference: str) -> None:
        super().__init__(
            f"{folder} holds another run: {difference}; choose another --out or remove it"
        )


def digest(*arrays: ArrayLike) -> str:
    """Tells arrays apart by their values, types and shapes."""
    found = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array)
    return found.hexdigest()[:12]


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file that a kill or a power cut leaves either old or new."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def save_weights(path: Path, module: nn.Module) -> None:
    """The module's tensors as one .safetensors file, atomically."""
    _save_tensors(path, module.state_dict())


def save_checkpoint(
    folder: Path, step: int, module: nn.Module, optimizer: Optimizer, **state: Any
) -> None:
    """Everything a run needs to go on after ``step``; older checkpoints are removed.

    state.json is replaced last and names the tensors' file, so at any moment it names a whole one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"step_{step:08d}.safetensors"
    optimizer_state = optimizer.state_dict()
    tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
    for index, slots in optimizer_state["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in slots.items()}
    _save_tensors(folder / name, tensors)
    document = {"step": step, "tensors": name, "groups": optimizer_state["param_groups"], **state}
    write_atomic(folder / STATE, json.dumps(document).encode())
    for old in folder.glob("step_*"):
        if old.name != name:
            old.unlink()


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: Optimizer, run: Mapping[str, object] | None = None
) -> dict[str, Any] | None:
    """Restores module and optimizer in place and returns the state; None when there is none.

    ``run``: what the state must have as its "run". Raises AnotherRun when it has not, ValueError
    when a file is missing or damaged.
    """
    if not (folder / STATE).is_file():
        return None
    with _damage_told(folder):
        state: dict[str, Any] = json.loads((folder / STATE).read_text())
    there = state.get("run", {})
    asked = json.loads(json.dumps(run or {}))  # tuples are lists there
    if there != asked:
        raise AnotherRun(
            folder,
            ", ".join(
                f"{name} {there.get(name)} there, {asked.get(name)} asked"
                for name in {**asked, **there}
                if there.get(name) != asked.get(name)
            ),
        )
    with _damage_told(folder):
        tensors = load_file(folder / state["tensors"])
    prefix = "module."
    module.load_state_dict(
        {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
    )
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, slot = key.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": state["groups"]})
    return state


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder} holds a damaged checkpoint, remove it: {error}") from error


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    part = path.with_name(path.name + ".part")
    # A copy: safetensors refuses tensors that share memory or are strided.
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.chmod(0o644)
    part.replace(path)
