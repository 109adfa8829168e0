"""Targets on outputs whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.explanation import targets as t

LOGITS = torch.tensor([[0.0, float(np.log(3.0))], [2.0, 2.0]])
REGION = np.zeros((4, 6), dtype=bool)
REGION[1:3, 2:4] = True


def test_classes() -> None:
    torch.testing.assert_close(t.ClassLogit(1)(LOGITS), torch.tensor([np.log(3.0), 2.0]).float())
    torch.testing.assert_close(t.ClassProbability(1)(LOGITS), torch.tensor([0.75, 0.5]))


def test_regions() -> None:
    outputs = torch.zeros(2, 3, 4, 6)
    outputs[0, 1, 1, 2] = 8
    outputs[1, 1, 0, 0] = 8  # outside
    torch.testing.assert_close(t.RegionLogit(1, REGION)(outputs), torch.tensor([2.0, 0.0]))
    inside = (3 * (1 / 3) + np.exp(8) / (np.exp(8) + 2)) / 4
    probability = t.RegionProbability(1, REGION)(outputs)
    torch.testing.assert_close(probability, torch.tensor([inside, 1 / 3], dtype=torch.float32))


def test_coarse_outputs_weigh_a_region_by_area() -> None:
    """A 2 x 3 output of stride 2: the region covers a quarter of four of its cells."""
    outputs = torch.arange(6.0).reshape(1, 1, 2, 3)
    region = np.zeros((4, 6), dtype=bool)
    region[1:3, 1:3] = True
    torch.testing.assert_close(t.RegionLogit(0, region)(outputs), torch.tensor([2.0]))


def test_depth() -> None:
    depth = torch.full((1, 1, 4, 6), 50.0)
    depth[0, 0, 1, 2:4] = 2.0
    expected = torch.tensor([(np.log(2) + np.log(50)) / 2]).float()
    torch.testing.assert_close(t.MeanLogDepth(REGION)(depth), expected)
    torch.testing.assert_close(t.MeanLogDepth(REGION)(depth[:, 0]), expected)


def test_agreement_of_depth_is_the_same_for_half_and_for_double() -> None:
    reference = np.full((4, 6), 8.0, dtype=np.float32)
    depth = torch.full((3, 4, 6), 8.0)
    depth[1], depth[2] = 4.0, 16.0
    depth[:, 0] = 1.0  # outside
    agreement = t.DepthAgreement(REGION, reference)
    torch.testing.assert_close(agreement(depth), torch.tensor([1.0, 0.5, 0.5]))


def test_forecasts() -> None:
    """Two modes; the likelier one ends at (3, 4), and at (0, -2) in the second forecast."""
    trajectories = torch.zeros(2, 2, 3, 2)
    trajectories[0, 1, -1] = torch.tensor([3.0, 4.0])
    trajectories[1, 0, -1] = torch.tensor([0.0, -2.0])
    outputs = trajectories, torch.tensor([[0.2, 0.8], [0.9, 0.1]])
    torch.testing.assert_close(t.EndPointShift((0, 0))(outputs), torch.tensor([5.0, 2.0]))
    torch.testing.assert_close(t.LateralOffset()(outputs), torch.tensor([4.0, -2.0]))
    turned = t.LateralOffset(origin=(1, 0), heading=np.pi / 2)(outputs)
    torch.testing.assert_close(turned, torch.tensor([-2.0, 1.0]))


def test_joint_targets_share_outputs() -> None:
    joint = t.Joint((t.ClassLogit(0), t.ClassProbability(1)))
    torch.testing.assert_close(joint(LOGITS), torch.tensor([[0.0, 0.75], [2.0, 0.5]]))
    assert joint.name == "logit of class 0, probability of class 1"


def test_empty_region() -> None:
    with pytest.raises(ValueError, match="empty"):
        t.RegionLogit(0, np.zeros((4, 6), dtype=bool))(torch.zeros(1, 1, 4, 6))
