"""A trained segmenter on disk: NAME.safetensors with the card NAME.json beside it.

The card holds the network's shape, the classes of its channels, where it comes from, and the hash
of the weights, so that a pair that does not belong together is found before it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ros_xai.core.config import ConfigError, from_mapping
from ros_xai.data.segmentation import Classes
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork


class BundleError(ValueError):
    """A bundle that cannot be used, with what was wrong and what was expected."""


@dataclass(frozen=True)
class Bundle:
    """A network in evaluation mode, the classes of its channels, its provenance and hash."""

    network: SegmentationNetwork
    classes: Classes
    provenance: dict[str, Any]
    digest: str


def save_bundle(
    path: Path | str, network: SegmentationNetwork, classes: Classes, provenance: dict[str, Any]
) -> Path:
    """Write the pair; the card, which names the weights' hash, last.

    provenance: JSON values: data, command, seed, metrics.
    """
    path = Path(path)
    if len(classes) != network.config.classes:
        raise BundleError(f"{len(classes)} classes named; the network has {network.config.classes}")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    weights = save_tensors(tensors)
    card = {
        "network": dataclasses.asdict(network.config),
        "classes": [{"name": n, "color": c} for n, c in zip(classes.names, classes.colors)],
        "sha256": hashlib.sha256(weights).hexdigest(),
        "provenance": provenance,
    }
    for file, data in (
        (path, weights),
        (path.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode()),
    ):
        part = file.with_name(file.name + ".part")
        part.write_bytes(data)
        part.replace(file)
    return path


def load_bundle(path: Path | str) -> Bundle:
    """Read and check a pair.

    Raises:
        BundleError: a file is missing or damaged, the two do not belong together, the weights do
            not fit the network or are not finite.
    """
    path = Path(path)
    try:
        card = json.loads(path.with_suffix(".json").read_text())
        weights = path.read_bytes()
        config = from_mapping(NetworkConfig, card["network"])
        names = tuple(str(entry["name"]) for entry in card["classes"])
        colors = tuple((r, g, b) for r, g, b in (entry["color"] for entry in card["classes"]))
        expected = str(card["sha256"])
    except (OSError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise BundleError(
            f"{path}: expected NAME.safetensors with its card NAME.json beside it; "
            f"{type(error).__name__}: {error}"
        ) from error
    digest = hashlib.sha256(weights).hexdigest()
    if digest != expected:
        raise BundleError(
            f"{path}: the card is of other weights ({expected[:12]}, not {digest[:12]})"
        )
    if len(names) != config.classes or len(set(names)) != len(names):
        raise BundleError(f"{path}: expected {config.classes} different class names; got {names}")
    if not all(value in range(256) for color in colors for value in color):
        raise BundleError(f"{path}: expected colours of three numbers 0 to 255; got {colors}")
    try:
        network = SegmentationNetwork(config)
        tensors = load_tensors(weights)
        network.load_state_dict(tensors)
    except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise BundleError(f"{path}: the weights do not fit the card's network: {error}") from error
    wrong = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if wrong:
        raise BundleError(f"{path}: {wrong[0]} holds values that are not finite")
    values = tuple((i,) for i in range(len(names)))
    return Bundle(
        network.eval(), Classes(names, colors, values), card.get("provenance", {}), digest
    )


def check_growth(known: Classes, grown: Classes) -> None:
    """Raises BundleError unless every known class is among the grown ones: users rely on them."""
    if lost := [name for name in known.names if name not in grown.names]:
        raise BundleError(f"the new bundle forgets the classes {', '.join(lost)}")
