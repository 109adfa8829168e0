"""The layout generator as scripts use it: a palette in, a layout out; or a part of one edited."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file
from torch import Tensor

from ros_xai.core.config import from_mapping
from ros_xai.generation.layout_network import LayoutConfig, LayoutNetwork
from ros_xai.generation.palette import PaletteError, PaletteModel, filled
from ros_xai.generation.weights import reading

SHIPPED = Path(__file__).parents[1] / "weights" / "layout.safetensors"
Labels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two excluded


class LayoutGenerator:
    """Palette -> layout, and layout, box, palette -> the layout with that box made anew."""

    def __init__(
        self, network: LayoutNetwork, palettes: PaletteModel, names: tuple[str, ...]
    ) -> None:
        self.network, self.palettes, self.names = network.eval(), palettes, names

    @classmethod
    def load(cls, weights: str | Path | None = None) -> LayoutGenerator:
        """The shipped generator, or that of a .safetensors file with its .json card beside it.

        Raises FileNotFoundError when a file is missing, ConfigError for files that do not fit.
        """
        path = SHIPPED if weights is None else Path(weights)
        with reading(path, "layout"):
            card = json.loads(path.with_suffix(".json").read_text())
            network = LayoutNetwork(from_mapping(LayoutConfig, card["network"]))
            tensors = load_file(path)
            palettes = PaletteModel(
                **{
                    name: tensors.pop(f"palettes.{name}").double().numpy()
                    for name in ("weights", "means", "covariances")
                }
            )
            network.load_state_dict({name: value.float() for name, value in tensors.items()})
            return cls(network, palettes, tuple(card["classes"]))

    def tensors(self) -> dict[str, Tensor]:
        """Everything `load` reads from the .safetensors file."""
        mixture = {
            f"palettes.{name}": torch.from_numpy(value).float()
            for name, value in vars(self.palettes).items()
        }
        return {**self.network.state_dict(), **mixture}

    def card(self) -> dict[str, Any]:
        """What `load` reads from the card."""
        return {"network": asdict(self.network.config), "classes": self.names}

    @torch.no_grad()
    def generate(
        self, palettes: ArrayLike, seed: int = 0, size: tuple[int, int] | None = None
    ) -> Labels:
        """Layouts uint8 [N, H, W] of palettes [N, C] or [C], of the network's size by default.

        A larger layout is the arg-max of the interpolated probabilities.
        """
        asked = self._palettes(palettes)
        config = self.network.config
        source = torch.zeros(len(asked), config.classes, *config.size)
        region = torch.ones(len(asked), 1, *config.size)
        probabilities = self._probabilities(asked, source, region, seed)
        return _labels(probabilities, size or config.size)

    @torch.no_grad()
    def edit(self, label: Labels, box: Box, palette: ArrayLike, seed: int = 0) -> Labels:
        """The layout [H, W] with `box` made anew in a palette [C] of its own.

        Every pixel outside the box stays as it is. Raises PaletteError for a box without a pixel
        or beyond the layout, and for a layout that has no class anywhere.
        """
        height, width = label.shape
        left, top, right, bottom = box
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise PaletteError(
                f"box {left},{top},{right},{bottom}: expected left < right <= {width} and "
                f"top < bottom <= {height}"
            )
        config = self.network.config
        whole = torch.from_numpy(filled(label, config.classes)).long()
        source = F.one_hot(whole, config.classes).movedim(2, 0)[None].float()
        region = torch.zeros(1, 1, height, width)
        region[..., top:bottom, left:right] = 1
        small, hole = (F.adaptive_avg_pool2d(x, config.size) for x in (source, region))
        probabilities = self._probabilities(self._palettes(palette), small, hole, seed)
        new = _labels(probabilities, (height, width))[0]
        edited = label.copy()
        edited[top:bottom, left:right] = new[top:bottom, left:right]
        return edited

    def _palettes(self, palettes: ArrayLike) -> Tensor:
        asked = torch.from_numpy(np.atleast_2d(np.asarray(palettes, dtype=np.float32)))
        classes = self.network.config.classes
        if asked.shape[1] != classes or (asked < 0).any() or (asked.sum(1) <= 0).any():
            raise PaletteError(f"expected palettes [N, {classes}] of shares that are not negative")
        return asked / asked.sum(dim=1, keepdim=True)

    def _probabilities(self, asked: Tensor, source: Tensor, region: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(len(asked), self.network.config.latent, generator=generator)
        # in parts, for memory; a code depends on its place in the whole list only
        parts = zip(*(x.split(64) for x in (z, asked, source, region)))
        return torch.cat([self.network(*part)[-1].probabilities for part in parts])


def _labels(probabilities: Tensor, size: tuple[int, int]) -> Labels:
    if tuple(probabilities.shape[2:]) != tuple(size):
        probabilities = F.interpolate(
            probabilities, size, mode="bilinear", align_corners=False, antialias=False
        )
    return probabilities.argmax(dim=1).numpy().astype(np.uint8)


def resized_label(label: Labels, size: tuple[int, int]) -> Labels:
    """A label at another size (rows, columns), by nearest pixels."""
    return np.asarray(
        cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
    )
