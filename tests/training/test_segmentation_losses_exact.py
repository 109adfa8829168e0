"""Thresholds and weights of segmentation's losses, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.plop import BINS
from ros_xai.training.mtuda import Adaptation, AdaptationConfig
from ros_xai.training.plop import median_entropies
from ros_xai.training.segmentation import Labelled

SMALL = NetworkConfig(classes=3, widths=(4, 8, 8, 8), blocks=1, decoder=8)


class Sure(nn.Module):
    """An old model of two classes that is sure of class 0 to 9/10 in the dark, to 6/10 in light."""

    def forward(self, image: Tensor) -> Tensor:
        first = torch.where(image[:, 0] > 0.5, 0.6, 0.9)
        return torch.stack([first, 1 - first], dim=1).log()


def test_median_entropies_are_those_of_background_pixels_alone():
    # Dark background beside a larger light part, half of it labelled a new class, half ignored.
    labels = np.zeros((1, 4, 16), np.uint8)
    labels[:, :, 4:10], labels[:, :, 10:] = 2, IGNORE
    images = (255 * (labels > 0)).astype(np.uint8)[..., None].repeat(3, axis=-1)
    entropy = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    known, never = median_entropies(Sure(), Labelled(images, labels), minimum=0.002).tolist()
    assert known == pytest.approx(entropy, abs=1 / BINS)
    assert never == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        # The main head and a tenth of the auxiliary one; of MTKT the heads of two targets, and the
        # agnostic pair not at all.
        ("source-only", 1 + 0.1),
        ("advent", 1 + 0.1),
        ("multi-dis", 1 + 0.1),
        ("mtkt", 2 * (1 + 0.1)),
    ],
)
def test_source_labels_weigh_a_tenth_at_the_auxiliary_heads(method, weights):
    torch.manual_seed(0)
    config = AdaptationConfig(method=method, width=4)
    module = Adaptation(SegmentationNetwork(SMALL), config, targets=2)
    for head in module.network.heads.values():
        nn.init.zeros_(head.classifier.weight)
        nn.init.zeros_(head.classifier.bias)
    images = {name: torch.rand(1, 3, 64, 64) for name in ("image", "target0", "target1")}
    losses = module({**images, "label": torch.randint(0, 3, (1, 64, 64))})
    assert losses["segmentation"].item() == pytest.approx(weights * math.log(3), rel=1e-5)
