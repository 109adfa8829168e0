"""Inversion of an image into codes, on a scene whose best codes are known."""

import pytest
import torch

from ros_xai.explanation.steex_inversion import InversionConfig, inversion_loss, inverted
from tests.explanation.test_steex import START, render

WANTED = torch.tensor([[0.2, 0, 0, 0], [0.3, 0.4, 0, 0], [0, 0.6, -0.5, 0], [0, 0, 0, 0]])


def lamp(image: torch.Tensor) -> torch.Tensor:
    """Evidence [1, 1]: the green of the upper rows."""
    return 8 * image[:, 1, :2].mean(dim=(1, 2))[:, None]


def test_the_codes_that_paint_the_image_are_found():
    config = InversionConfig(steps=200, rate=0.01)
    codes = inverted(render, lamp, render(WANTED[None]), START, config)
    assert (codes - WANTED).abs().max() < 0.03
    assert torch.equal(codes[3], START[3])  # the class is absent


def test_the_decision_is_heard_where_pixels_cannot_agree():
    """An image that no codes paint: its upper rows are half green; the loss of pixels alone is as
    small for any green between, the decision's is not."""
    image = render(WANTED[None]).clone()
    image[:, 1, :2] = torch.tensor([0.0, 0.8]).repeat(8)
    deaf, hearing = (
        inverted(render, lamp, image, START, InversionConfig(200, 0.01, 0.0, weight))
        for weight in (0.0, 1.0)
    )
    seen = lamp(image).item()
    assert abs(lamp(render(hearing[None])).item() - seen) < 0.3
    assert abs(lamp(render(deaf[None])).item() - seen) > 1


def test_the_loss_is_what_it_says():
    image, again = torch.zeros(1, 3, 5, 10), torch.zeros(1, 3, 5, 10)
    again[0, :, 0, 0] = 0.5  # one pixel of 50 is the worst 2 %
    config = InversionConfig(hardest=0.5, agreement=0.1)
    told, seen = torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    loss = inversion_loss(again, image, told, seen, config).item()
    assert loss == pytest.approx(0.5 / 50 + 0.5 * 0.5 + 0.1 * (2 - 0.5) / 2)
