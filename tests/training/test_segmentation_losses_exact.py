"""Thresholds and weights of segmentation's losses, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.plop import BINS, distillation
from ros_xai.training.mtuda import Adaptation, AdaptationConfig
from ros_xai.training.plop import (
    DISTILLED,
    OBJECTIVES,
    ContinualConfig,
    grown,
    median_entropies,
)
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


def old_and_new() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Layers of a network and of one that has learnt a class more and forgotten a little."""
    torch.manual_seed(0)
    old = SegmentationNetwork(SMALL).eval()
    new = grown(old, 1, balanced=True)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.mul_(1.1)
        image = torch.rand(2, 3, 64, 64)
        return old.layers(image), new.layers(image)


@pytest.mark.parametrize("name", ["lwf", "mib"])
def test_distillation_weighs_as_configured(name):
    old, new = old_and_new()
    labels = torch.zeros(2, 64, 64, dtype=torch.long)
    once, thrice = (
        OBJECTIVES[name](old, new, labels, None, ContinualConfig(**{name: weight}))["distillation"]
        for weight in (1.0, 3.0)
    )
    assert thrice.item() == pytest.approx(3 * once.item()) and once > 0


def test_local_pod_has_the_scales_and_factors_configured():
    old, new = old_and_new()
    labels = torch.zeros(2, 64, 64, dtype=torch.long)
    layers = [{name: each[name] for name in DISTILLED} for each in (old, new)]
    for scales, *factors in (((1,), 0.01, 0.0005), ((1, 2, 4), 0.03, 0.0005), ((1,), 0.01, 0.2)):
        found = OBJECTIVES["plop"](old, new, labels, None, ContinualConfig(scales, *factors))
        expected = distillation(*layers, scales, *factors)
        assert found["distillation"].item() == pytest.approx(expected.item()) and expected > 0
