"""The image generator as scripts use it: an image taken apart into layout and styles, and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ros_xai.core.config import from_mapping
from ros_xai.generation.image_network import ImageConfig, ImageNetwork
from ros_xai.generation.layouts import resized_label
from ros_xai.generation.palette import filled
from ros_xai.generation.weights import reading

SHIPPED = Path(__file__).parents[1] / "weights" / "image.safetensors"
Image = NDArray[np.uint8]  # [H, W, 3] rgb
Label = NDArray[np.uint8]  # [H, W]


@dataclass(frozen=True)
class StyleBank:
    """Codes [N, C, D] of real images and which of their classes were there, present [N, C]."""

    codes: Tensor
    present: Tensor

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Codes [C, D] of one image, and which classes it had [C]."""
        index = int(rng.integers(len(self.codes)))
        return self.codes[index], self.present[index]

    def complete(self, codes: Tensor, present: Tensor) -> Tensor:
        """Codes [C, D] for all classes: those absent come from the most similar image of the bank
        that has them (mean square distance over the classes both have)."""
        common = self.present & present
        gap = ((self.codes - codes) ** 2).mean(dim=2)
        distance = (gap * common).sum(dim=1) / common.sum(dim=1).clamp(min=1)
        distance = torch.where(common.any(dim=1), distance, torch.inf)
        result = codes.clone()
        for index in torch.nonzero(~present)[:, 0].tolist():
            having = torch.where(self.present[:, index], distance, torch.inf)
            if torch.isfinite(having).any():
                result[index] = self.codes[having.argmin(), index]
        return result


class ImageGenerator:
    """Layouts and style codes -> images, at the network's size."""

    def __init__(self, network: ImageNetwork, bank: StyleBank, names: tuple[str, ...]) -> None:
        self.network, self.bank, self.names = network.eval(), bank, names
        self.network.requires_grad_(False)

    @classmethod
    def load(cls, weights: str | Path | None = None) -> ImageGenerator:
        """The shipped generator, or that of a .safetensors file with its .json card beside it.

        Raises FileNotFoundError when a file is missing, ConfigError for files that do not fit.
        """
        path = SHIPPED if weights is None else Path(weights)
        with reading(path, "image"):
            card = json.loads(path.with_suffix(".json").read_text())
            network = ImageNetwork(from_mapping(ImageConfig, card["network"]))
            tensors = load_file(path)
            bank = StyleBank(tensors.pop("bank.codes").float(), tensors.pop("bank.present").bool())
            network.load_state_dict(tensors)
            return cls(network, bank, tuple(card["classes"]))

    def tensors(self) -> dict[str, Tensor]:
        """Everything `load` reads from the .safetensors file."""
        bank = {"bank.codes": self.bank.codes, "bank.present": self.bank.present.to(torch.uint8)}
        return {**self.network.state_dict(), **bank}

    def card(self) -> dict[str, Any]:
        """What `load` reads from the card."""
        return {"network": asdict(self.network.config), "classes": self.names}

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the images."""
        return self.network.config.size

    def layout(self, label: Label) -> Tensor:
        """One-hot [1, C, H, W] of a label of the network's size, its gaps filled.

        Raises PaletteError for one that is all gap.
        """
        classes = self.network.config.classes
        whole = torch.from_numpy(filled(label, classes)).long()
        return F.one_hot(whole, classes).movedim(2, 0)[None].float()

    @torch.no_grad()
    def encode(self, image: Image, label: Label) -> Tensor:
        """Style codes [C, D] of an image and its label, 0 for absent classes."""
        small, layout = self.fit(image, label)
        return self.network.encoder(to_network(small), self.layout(layout))[0]

    @torch.no_grad()
    def render(self, label: Label, codes: Tensor) -> Image:
        """The image [h, w, 3] of a layout (brought to the network's size) in styles [C, D]."""
        layout = self.layout(resized_label(label, self.size))
        return to_image(self.network(layout, codes[None]))

    def paint(self, label: Label, rng: np.random.Generator) -> Image:
        """The layout in the styles of one image drawn from the bank."""
        return self.render(label, self.bank.complete(*self.bank.draw(rng)))

    def fit(self, image: Image, label: Label) -> tuple[Image, Label]:
        """The largest centred window of the network's aspect, at the network's size."""
        rows, columns = self.size
        window = centred(image.shape[0], image.shape[1], columns / rows)
        small = cv2.resize(image[window], (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8), resized_label(label[window], self.size)


def centred(height: int, width: int, aspect: float) -> tuple[slice, slice]:
    """The largest centred window of an aspect (width over height)."""
    rows, columns = min(height, round(width / aspect)), min(width, round(height * aspect))
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def interpolate(first: Tensor, second: Tensor, region: int, share: float) -> Tensor:
    """Codes [C, D] of `first`, with those of one class moved by `share` towards `second`'s."""
    moved = first.clone()
    moved[region] = torch.lerp(first[region], second[region], share)
    return moved


def to_network(image: Image) -> Tensor:
    """uint8 [H, W, 3] -> float [1, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).movedim(2, 0)[None].float() / 127.5 - 1


def to_image(tensor: Tensor) -> Image:
    """Float [1, 3, H, W] in [-1, 1] -> uint8 [H, W, 3]."""
    scaled = (tensor.detach()[0].movedim(0, 2).clamp(-1, 1) + 1) * 127.5
    return np.asarray(scaled.round().to(torch.uint8).numpy())
