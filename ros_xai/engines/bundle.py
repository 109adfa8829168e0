"""A network on disk, ready for any engine: a folder with weights, ONNX graph and card.

weights.safetensors holds the tensors, model.onnx the graph that engines compile, card.json what it
is: task, origin, method, figures, inputs and outputs, and the SHA-256 of both files. The card ends
with the digest of all the rest of it. What does not fit together is refused; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ros_xai.engines.base import EngineError

WEIGHTS, MODEL, CARD = "weights.safetensors", "model.onnx", "card.json"
FORMAT = 1
_NEEDED = ("format", "task", "origin", "method", "figures", "shapes", "sha256", "digest")


class BundleError(EngineError):
    """A bundle that cannot be used, with what was wrong."""


@dataclass(frozen=True)
class EngineBundle:
    """A verified bundle. model: the serialised ONNX graph; card: as written by `write_bundle`."""

    folder: Path
    card: dict[str, Any]
    model: bytes
    weights: dict[str, Tensor]

    @property
    def digest(self) -> str:
        """Identifies graph, weights and card."""
        return str(self.card["digest"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the inputs, as in the figures."""
        return {name: tuple(shape) for name, shape in self.card["shapes"].items()}


def write_bundle(
    folder: Path | str,
    model: bytes,
    weights: Mapping[str, Tensor],
    task: str,
    shapes: Mapping[str, tuple[int, ...]],
    origin: Any,
    method: Any,
    figures: Any,
    **more: Any,
) -> Path:
    """Write a bundle; the card, which names the other files' hashes, last.

    shapes: of the inputs that figures are for; origin, method, figures and ``more``: JSON values.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    files = {WEIGHTS: save_tensors(tensors), MODEL: model}
    card = {
        "format": FORMAT, "task": task, "origin": origin, "method": method, "figures": figures,
        "shapes": {name: list(shape) for name, shape in shapes.items()}, **more,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }  # fmt: skip
    card = json.loads(json.dumps(card, allow_nan=False))
    card["digest"] = _digest(card)
    text = json.dumps(card, indent=1) + "\n"
    for name, data in {**files, CARD: text.encode()}.items():
        part = folder / f"{name}.part"
        part.write_bytes(data)
        part.replace(folder / name)
    return folder


def read_bundle(folder: Path | str) -> EngineBundle:
    """Read and check a bundle.

    Raises:
        BundleError: a file is missing or damaged, or does not belong to the card.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text())
        files = {name: (folder / name).read_bytes() for name in (WEIGHTS, MODEL)}
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{folder}: expected a folder with {CARD}, {WEIGHTS} and {MODEL}; {error}"
        ) from error
    if not isinstance(card, dict) or (missing := [key for key in _NEEDED if key not in card]):
        what = f"without {', '.join(missing)}" if isinstance(card, dict) else "no object"
        raise BundleError(f"{folder}/{CARD}: {what}")
    if card["format"] != FORMAT:
        raise BundleError(f"{folder}: expected format {FORMAT}; got {card['format']!r}")
    if card["digest"] != _digest(card):
        raise BundleError(f"{folder}/{CARD}: the card has been changed after it was written")
    for name, data in files.items():
        if card["sha256"].get(name) != hashlib.sha256(data).hexdigest():
            raise BundleError(f"{folder}/{name}: not the file that the card was written for")
    try:
        weights = load_tensors(files[WEIGHTS])
    except SafetensorError as error:
        raise BundleError(f"{folder}/{WEIGHTS}: {error}") from error
    return EngineBundle(folder, card, files[MODEL], weights)


def _digest(card: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
