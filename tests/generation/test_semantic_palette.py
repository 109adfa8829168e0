"""The activation and its losses against closed forms and the published pitfalls."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ros_xai.generation.semantic_palette import (
    assisted_activation,
    at_least_a_pixel,
    entropy,
    recovery,
    spread,
)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 12), st.integers(2, 12))
def test_every_mask_has_the_asked_mean_whatever_the_scores(seed, classes, height, width):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.normal(0, 5, (3, classes, height, width)))
    asked = torch.from_numpy(rng.dirichlet(np.ones(classes), 3)).float()
    area = torch.full((3, 1), float(height * width))
    probabilities, masks = assisted_activation(scores, asked)
    kept = at_least_a_pixel(asked, area)
    assert torch.allclose(masks.mean(dim=(2, 3)), kept, atol=1e-5)
    assert torch.allclose(probabilities.sum(1), torch.ones(3, height, width), atol=1e-5)


def test_the_formula_pixel_by_pixel():
    scores = torch.tensor([[[[0.0, np.log(3.0)]], [[np.log(2.0), 0.0]]]])
    probabilities, masks = assisted_activation(scores, torch.tensor([[0.5, 0.5]]))
    # softmax over the two pixels: (1/4, 3/4) and (2/3, 1/3); times 0.5 * 2 pixels
    expected = torch.tensor([[[[0.25, 0.75]], [[2 / 3, 1 / 3]]]])
    assert torch.allclose(masks, expected, atol=1e-6)
    first = (0.25 + 1e-6) / (0.25 + 2 / 3 + 2e-6)
    assert probabilities[0, 0, 0, 0].item() == pytest.approx(first, abs=1e-6)


def test_an_absent_class_does_not_leak_through_eps():
    scores = torch.randn(1, 3, 4, 4) * 3
    probabilities, masks = assisted_activation(scores, torch.tensor([[0.5, 0.5, 0.0]]))
    assert probabilities[0, 2].abs().max() == 0
    assert masks[0, 2].abs().max() == 0


def test_less_than_a_pixel_is_left_out_and_the_rest_renormalised():
    asked = torch.tensor([[0.97, 0.03]])  # 16 pixels: 0.03 is half a pixel
    _, masks = assisted_activation(torch.zeros(1, 2, 4, 4), asked)
    assert torch.allclose(masks.mean(dim=(2, 3)), torch.tensor([[1.0, 0.0]]))


def test_more_classes_than_pixels_leave_the_largest():
    shares = at_least_a_pixel(torch.tensor([[0.3, 0.4, 0.3]]), torch.tensor([[2.0]]))
    assert shares.tolist() == [[0.0, 1.0, 0.0]]


def test_half_precision_scores_do_not_overflow():
    scores = torch.full((1, 2, 64, 128), 300.0, dtype=torch.float16)
    scores[0, 0, :, :64] += 300
    probabilities, _ = assisted_activation(scores, torch.tensor([[0.5, 0.5]]))
    assert probabilities.dtype == torch.float32
    assert torch.isfinite(probabilities).all()


def test_only_the_region_is_shared_out():
    region = torch.zeros(1, 1, 4, 8)
    region[..., :4] = 1
    asked = torch.tensor([[0.75, 0.25]])
    _, masks = assisted_activation(torch.randn(1, 2, 4, 8), asked, region)
    assert masks[..., 4:].abs().max() < 1e-6
    assert torch.allclose(masks[..., :4].mean(dim=(2, 3)), asked, atol=1e-5)


def test_spread_and_entropy_vanish_for_one_hot_masks_and_only_for_them():
    label = torch.randint(0, 3, (2, 4, 8), generator=torch.Generator().manual_seed(0))
    masks = torch.nn.functional.one_hot(label, 3).movedim(3, 1).float()
    assert spread(masks).item() == 0
    assert entropy(masks).item() == pytest.approx(0, abs=2e-5)
    assert spread(masks * 1.5).item() == pytest.approx(0.25)
    uniform = torch.full((1, 4, 2, 2), 0.25)
    assert entropy(uniform).item() == pytest.approx(np.log(4), abs=1e-3)


def test_losses_of_a_region_are_means_over_it():
    region = torch.zeros(1, 1, 4, 8)
    region[..., :2] = 1
    masks = torch.full((1, 2, 4, 8), 5.0)
    masks[..., :2] = 0.75  # 1.5 together
    assert spread(masks, region).item() == pytest.approx(0.25)
    halves = torch.full((1, 2, 4, 8), 0.5)
    assert entropy(halves, region).item() == pytest.approx(np.log(2), abs=1e-3)


def test_recovery_is_the_divergence_of_the_mean():
    asked = torch.tensor([[0.5, 0.5]])
    probabilities = torch.tensor([0.25, 0.75])[None, :, None, None].expand(1, 2, 4, 4)
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert recovery(probabilities, asked).item() == pytest.approx(expected, abs=1e-4)
    assert recovery(asked[:, :, None, None].expand(1, 2, 4, 4), asked).item() < 1e-4


def test_descent_on_the_losses_makes_the_arg_max_match_the_palette():
    torch.manual_seed(0)
    asked = torch.tensor([[0.5, 0.3, 0.2, 0.0]])
    scores = torch.randn(1, 4, 8, 16, requires_grad=True)
    optimizer = torch.optim.Adam([scores], 0.2)
    for _ in range(300):
        probabilities, masks = assisted_activation(scores, asked)
        optimizer.zero_grad()
        (spread(masks) + entropy(probabilities)).backward()
        optimizer.step()
    label = assisted_activation(scores.detach(), asked)[0].argmax(1)
    achieved = torch.bincount(label.flatten(), minlength=4) / label.numel()
    assert (achieved - asked[0]).abs().max() < 0.03
