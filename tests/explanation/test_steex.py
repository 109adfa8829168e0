"""Counterfactuals on a scene whose decision is known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ros_xai.explanation.steex import Steex, SteexConfig, pixel_counterfactual, steex_loss

LABEL = torch.zeros(1, 8, 16, dtype=torch.long)
LABEL[:, :2] = 1
LABEL[:, 4:, 8:] = 2
LAYOUT = torch.nn.functional.one_hot(LABEL, 4).movedim(3, 1).float()  # class 3 is absent


def render(codes: torch.Tensor) -> torch.Tensor:
    """Each class is painted in the first three numbers of its code."""
    return torch.einsum("bcd,bchw->bdhw", codes[..., :3], LAYOUT)


def red_of_class_1(image: torch.Tensor) -> torch.Tensor:
    """Logit: "yes" while the top rows are not red."""
    return 6 * (0.3 - image[:, 0, :2].mean(dim=(1, 2)))


START = torch.tensor([[0.1, 0, 0, 0], [0.8, 0, 0, 0], [0, 0.2, 0, 0], [0, 0, 0, 0]])
CONFIG = SteexConfig(proximity=0.05, rate=0.05, margin=1.0)


def scene(decide=red_of_class_1, config=CONFIG) -> Steex:
    return Steex(render, decide, render(START[None]), START, [0, 1, 2], config)


def test_the_loss_is_the_papers_formula_and_does_not_overflow():
    codes, start = torch.randn(20, 512), torch.randn(20, 512)
    for logit in (-9.0, 0.3, 8.0):
        probability = 1 / (1 + np.exp(-logit))
        for wanted, p in ((True, probability), (False, 1 - probability)):
            value = steex_loss(torch.tensor([logit]), wanted, codes, start, 0.3).item()
            expected = -np.log(p) + 0.3 * ((codes - start) ** 2).sum().item()
            assert value == pytest.approx(expected, rel=1e-6)
    extreme = steex_loss(torch.tensor([500.0]), False, start, start, 0.3)
    assert extreme.item() == pytest.approx(500)


def test_the_deciding_region_moves_and_the_others_do_not():
    found = scene().explain()
    assert found.image < 0.5 < found.curve[-1]
    assert found.wanted and found.reconstruction_agrees and found.success
    assert found.moved.argmax() == 1
    assert found.moved[[0, 2, 3]].max() < 1e-6  # no gradient reaches them
    changed = found.changed(LAYOUT)
    assert changed.argmax() == 1
    assert changed[3] == 0
    assert torch.equal(found.after, render(found.codes[None]))


def test_the_search_ends_at_the_margin():
    curve = scene().explain().curve
    logits = np.log(np.array(curve) / (1 - np.array(curve)))
    assert logits[-1] >= CONFIG.margin > logits[-2]
    assert len(curve) < CONFIG.steps


def test_what_the_decision_does_not_need_goes_back_to_its_start():
    """Class 2 helps a little: the search moves it, and without it the decision is another still."""

    def mostly_class_1(image: torch.Tensor) -> torch.Tensor:
        return red_of_class_1(image) + 0.5 * image[:, 1, 4:, 8:].mean(dim=(1, 2))

    config = SteexConfig(proximity=0.05, rate=0.05, margin=1.0, kept=0.5)
    as_found = scene(mostly_class_1, replace(config, kept=float("inf"))).explain()
    assert as_found.moved[2] > 0.05
    spared = scene(mostly_class_1, config).explain()
    assert torch.equal(spared.codes[2], START[2])
    assert torch.equal(spared.codes[1], as_found.codes[1])
    logit = np.log(spared.curve[-1] / (1 - spared.curve[-1]))
    assert 0.5 <= logit < 1.1 and spared.success
    assert spared.curve[:-1] == as_found.curve


def test_a_region_that_does_not_decide_cannot_flip():
    found = scene().explain([2])
    assert not found.flipped and not found.success
    assert len(found.curve) == CONFIG.steps + 1
    assert torch.equal(found.codes[[0, 1, 3]], START[[0, 1, 3]])


def test_absent_regions_are_refused():
    with pytest.raises(ValueError, match="none of the regions"):
        scene().explain([3])


def test_a_flip_of_the_reconstruction_is_no_success():
    image = render(START[None]).clone()
    image[:, 0, :2] = 0  # the real image says yes, its reconstruction no
    search = Steex(render, red_of_class_1, image, START, [0, 1, 2], CONFIG)
    found = search.explain()
    assert not found.reconstruction_agrees and not found.success


def test_the_smallest_set_is_one_region_or_the_two_that_are_needed():
    search = scene()
    single = search.smallest(search.explain(), [0, 1, 2])
    assert single is not None and single.regions == (1,)

    def both(image: torch.Tensor) -> torch.Tensor:
        top, right = image[:, 0, :2].mean(dim=(1, 2)), image[:, 1, 4:, 8:].mean(dim=(1, 2))
        return 6 * torch.minimum(0.3 - top, right - 0.9)

    search = scene(both, SteexConfig(proximity=0.02, rate=0.05, steps=200, margin=0.3))
    pair = search.smallest(search.explain(), [0, 1, 2])
    assert pair is not None and pair.regions == (1, 2)


def test_the_smallest_set_is_of_the_regions_that_were_asked():
    """Class 2 alone would do, but only 0 and 1 may change, which it takes both."""

    def pair_or_single(image: torch.Tensor) -> torch.Tensor:
        red = (image[:, :1] * LAYOUT).sum(dim=(2, 3)) / LAYOUT.sum(dim=(2, 3)).clamp(min=1)
        nudge = 0.05 * red[:, :3].sum(dim=1)
        return 8 * torch.maximum(red[:, :2].mean(dim=1) - 0.8, red[:, 2] - 0.8) + nudge

    config = SteexConfig(proximity=0.01, rate=0.05, margin=0.5, kept=0.2)
    start = torch.zeros_like(START)
    search = Steex(render, pair_or_single, render(start[None]), start, [0, 1, 2], config)
    everything = search.smallest(search.explain(), [2, 0, 1])
    assert everything is not None and everything.regions == (2,)
    asked = search.smallest(search.explain([0, 1]), [2, 0, 1])
    assert asked is not None and asked.regions == (0, 1)


def test_nothing_is_smallest_when_nothing_flips():
    search = scene(lambda image: image.sum().reshape(1) * 0 - 3)
    assert search.smallest(search.explain(), [0, 1, 2]) is None


def test_feedback_hears_of_every_step():
    heard = []
    found = scene().explain(feedback=heard.append)
    assert [step.number for step in heard] == list(range(len(found.curve)))
    assert [step.probability for step in heard] == list(found.curve)


def test_the_pixel_baseline_flips_the_decision():
    image = render(START[None])
    changed = pixel_counterfactual(red_of_class_1, image, rate=0.05)
    assert red_of_class_1(image).item() < 0 < red_of_class_1(changed).item()
    assert changed.abs().max() <= 1
