"""One image taken apart for a counterfactual search: shared by the command and the node."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ros_xai.explanation.steex import Counterfactual, Steex, SteexConfig
from ros_xai.explanation.steex_decision import DecisionNetwork
from ros_xai.explanation.steex_inversion import inverted
from ros_xai.generation.images import ImageGenerator, to_image, to_network

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """One image at the generator's size, its layout, and the search over its styles."""

    image: Pixels
    label: Pixels
    layout: Tensor
    search: Steex


def scene_of(
    generator: ImageGenerator,
    decision: DecisionNetwork,
    image: Pixels,
    label: Pixels,
    config: SteexConfig | None = None,
) -> Scene:
    """The search for an image [H, W, 3] and its label [H, W], from codes that rebuild it well."""
    small, fitted = generator.fit(image, label)
    layout, real = generator.layout(fitted), to_network(small)
    present = layout.sum(dim=(0, 2, 3)).nonzero()[:, 0].tolist()

    def render(codes: Tensor) -> Tensor:
        return generator.network(layout, codes)

    codes = inverted(render, decision.evidence, real, generator.encode(image, label))
    return Scene(small, fitted, layout, Steex(render, decision, real, codes, present, config))


def pictures(found: Counterfactual, scale: int = 4) -> dict[str, Pixels]:
    """before, after, difference (change x 3, on black) and all three side by side, enlarged."""
    before, after = to_image(found.before), to_image(found.after)
    change = np.abs(after.astype(np.int16) - before.astype(np.int16))
    difference = np.clip(3 * change, 0, 255).astype(np.uint8)
    single = {"before": before, "after": after, "difference": difference}
    large = {
        name: np.asarray(
            cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8
        )
        for name, p in single.items()
    }
    return {**large, "side_by_side": np.hstack(list(large.values()))}
