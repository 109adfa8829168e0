"""The terms of depth learning on batches made by hand, each against its closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ros_xai.core.geometry import pose
from ros_xai.data.depth import DepthSample, Loaded
from ros_xai.depth.network import SMALL
from ros_xai.training.depth import DepthLearner, DepthRecipe, Objective
from ros_xai.training.depth_batches import Augmentation, Beams, TripletBatches
from ros_xai.training.loop import Batch, generator
from ros_xai.training.motions import Motions

SIZE = (6, 9)
ALONE = Objective(photometric=0.0, smooth=0.0, lidar=0.0)
FAR = 1e3  # metres to the side: beyond the view of every pixel


class Says(nn.Module):
    """Stands for a network: one disparity at all four scales."""

    def __init__(self, disparity: Tensor) -> None:
        super().__init__()
        self.disparity = disparity

    def forward(self, image: Tensor, geometry: Tensor) -> list[Tensor]:
        return [self.disparity] * 4


def batch(target: float, source: float, *translations: list[float]) -> Batch:
    """One plain grey target and as many plain sources, which moved without turning."""
    T = torch.eye(4).repeat(1, len(translations), 1, 1)
    T[0, :, :3, 3] = torch.tensor(translations)
    sources = (1, len(translations))
    return {
        "image": torch.zeros(1, 3, *SIZE),
        "geometry": torch.zeros(1, 2, *SIZE),
        "scale": torch.ones(1),
        "target": torch.full((1, 3, *SIZE), target),
        "sources": torch.full((*sources, 3, *SIZE), source),
        "intrinsics": torch.tensor([[[8.0, 0, 4], [0, 8, 2.5], [0, 0, 1]]]),
        "T": T,
        "usable": torch.ones(sources, dtype=torch.bool),
        "static": torch.ones(*sources, 1, *SIZE, dtype=torch.bool),
        "sparse": torch.zeros(1, 1, *SIZE),
        "depth": torch.zeros(1, 1, *SIZE),
    }


def terms(objective: Objective, data: Batch, disparity: Tensor | None = None) -> dict[str, float]:
    learner = DepthLearner(DepthRecipe(SMALL, objective))
    learner.network = Says(torch.full((1, 1, *SIZE), 0.1) if disparity is None else disparity)
    return {name: value.item() for name, value in learner(data).items()}


def test_what_lands_outside_the_source_explains_nothing_where_only_the_static_does():
    # Outside it is black, which a target of 1/100 resembles more than a source of 6/10 does.
    data = batch(0.01, 0.6, [FAR, 0.0, 0.0])
    black = 0.85 * (1 - 1e-4 / (0.01**2 + 1e-4)) / 2 + 0.15 * 0.01
    paper = replace(ALONE, photometric=2.0)
    assert terms(paper, data)["photometric"] == pytest.approx(2 * black, rel=1e-4)
    assert terms(replace(paper, only_static=True), data)["photometric"] == 0


def test_smoothness_counts_half_as_much_at_every_coarser_scale():
    # From column to column the ramp rises by 1, a fifth of its mean; from row to row by 0.
    ramp = torch.arange(1.0, SIZE[1] + 1).expand(1, 1, *SIZE)
    found = terms(replace(ALONE, smooth=3.0), batch(0.5, 0.5, [0.0] * 3), ramp)["smooth"]
    assert found == pytest.approx(3 * (1 / 5) * (1 + 1 / 2 + 1 / 4 + 1 / 8) / 4, rel=1e-6)


def test_velocity_term_is_the_mean_difference_of_lengths():
    data = batch(0.5, 0.5, [3.0, 4.0, 0.0], [0.0, 0.0, -2.0])
    data["travelled"] = torch.tensor([[4.0, 1.5]])
    found = terms(replace(ALONE, photometric=1.0, velocity=2.0), data)["velocity"]
    assert found == pytest.approx(2 * (1.0 + 0.5) / 2)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_motions_of_mirrored_views_are_mirrored(flip: float) -> None:
    def motion(mirror: int) -> np.ndarray:
        """A turn by 0.3 rad about the vertical, y, and a shift; x and the turn change signs."""
        c, s = np.cos(0.3), mirror * np.sin(0.3)
        return pose([[c, 0, s], [0, 1, 0], [-s, 0, c]], [mirror * 0.5, 0.2, -1.0])

    blank = DepthSample(
        np.zeros((*SIZE, 3), np.uint8), np.eye(3), np.zeros((0, 3), np.float32), np.zeros(0, "u1")
    )
    seen = np.ones((3, 2), dtype=bool)
    motions = Motions(1, np.tile(motion(1), (3, 2, 1, 1)), seen, np.ones((3, 2, *SIZE), dtype=bool))
    plain = Augmentation(*SIZE, flip=flip, jitter=(0.0, 0.0, 0.0, 0.0))
    make = TripletBatches([Loaded("blank", (blank,) * 3)], [motions], 1, plain, Beams())
    expected = motion(-1 if flip else 1)
    for found in make(generator(0, 0))["T"][0].numpy():
        np.testing.assert_allclose(found, expected, atol=1e-6)
