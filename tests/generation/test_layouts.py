"""Layout networks, their training and the editing of parts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ros_xai.generation.layout_network import Critic, LayoutConfig, LayoutNetwork, pixel_norm
from ros_xai.generation.layouts import LayoutGenerator
from ros_xai.generation.palette import PaletteError, PaletteModel, proportions_of
from ros_xai.training.layout import LayoutRecipe, LayoutTrainer, gradient_penalty

SMALL = LayoutConfig(classes=3, latent=4, widths=(8, 8, 8))
NAMES = ("sky", "road", "car")
PALETTES = PaletteModel(np.ones(1), np.array([[0.4, 0.4, 0.2]]), np.eye(3)[None] * 1e-3)


def bands(count: int) -> np.ndarray:
    """Sky above road, a car between them."""
    rng = np.random.default_rng(0)
    labels = np.ones((count, 16, 32), np.uint8)
    for label in labels:
        label[: rng.integers(4, 9)] = 0
        left = rng.integers(0, 20)
        label[8:13, left : left + 10] = 2
    return labels


def generator(seed: int = 0) -> LayoutGenerator:
    torch.manual_seed(seed)
    return LayoutGenerator(LayoutNetwork(SMALL), PALETTES, NAMES)


def test_scales_double_and_are_probabilities():
    network = LayoutNetwork(SMALL)
    asked = torch.tensor([[0.5, 0.3, 0.2]])
    scales = network(torch.randn(1, 4), asked, torch.zeros(1, 3, 16, 32), torch.ones(1, 1, 16, 32))
    assert [tuple(s.probabilities.shape[2:]) for s in scales] == [(4, 8), (8, 16), (16, 32)]
    for scale in scales:
        assert torch.allclose(scale.probabilities.sum(1), torch.ones(()), atol=1e-5)
        assert torch.allclose(scale.masks.mean(dim=(2, 3)), asked, atol=0.03)  # above one pixel


def test_pixel_norm_brings_the_features_of_a_pixel_to_a_root_mean_square_of_one():
    x = torch.tensor([3.0, -4.0])[None, :, None, None] * torch.tensor([0.01, 1.0, 100.0])
    expected = torch.tensor([3.0, -4.0]) / 12.5**0.5
    assert torch.allclose(pixel_norm(x)[0, :, 0].T, expected.expand(3, 2), rtol=1e-3)


def test_without_the_activation_the_palette_is_still_an_input():
    around = torch.zeros(1, 3, 16, 32), torch.ones(1, 1, 16, 32)
    differ = []
    for conditioning in ("concatenated", "unconditional"):
        torch.manual_seed(0)
        network = LayoutNetwork(replace(SMALL, conditioning=conditioning))
        z = torch.randn(1, 4)
        first, second = (
            network(z, torch.tensor([asked]), *around)[-1].probabilities
            for asked in ([0.8, 0.1, 0.1], [0.1, 0.1, 0.8])
        )
        differ.append(not torch.equal(first, second))
    assert differ == [True, False]


def test_more_layouts_than_fit_a_batch_keep_their_palettes():
    labels = generator().generate(np.eye(3)[np.arange(70) % 3])
    assert labels.shape == (70, 16, 32)
    assert (labels == (np.arange(70) % 3)[:, None, None]).all()


def test_the_surroundings_of_a_region_are_kept_at_every_scale():
    network = LayoutNetwork(SMALL)
    source = torch.nn.functional.one_hot(torch.from_numpy(bands(1)).long(), 3)
    source = source.movedim(3, 1).float()
    region = torch.zeros(1, 1, 16, 32)
    region[..., 4:12, 8:24] = 1
    scales = network(torch.randn(1, 4), torch.tensor([[0.3, 0.3, 0.4]]), source, region)
    last = scales[-1].probabilities
    assert torch.equal(last * (1 - region), source * (1 - region))
    assert not torch.allclose(last * region, source * region, atol=0.1)


def test_gradient_penalty_of_a_linear_critic_is_known():
    weight = torch.randn(1, 3 * 4 * 8, generator=torch.Generator().manual_seed(0))
    penalty = gradient_penalty(
        lambda x: x.flatten(1) @ weight[0], torch.rand(5, 3, 4, 8), torch.rand(5, 3, 4, 8)
    )
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-5)


def test_the_critic_of_the_baseline_sees_the_palette():
    layout = torch.rand(1, 3, 8, 16)
    palettes = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]])
    for conditioning, told in (("concatenated", True), ("assisted", False)):
        critic = Critic(LayoutConfig(classes=3, widths=(8, 8), conditioning=conditioning))
        scores = [critic(layout, p).item() for p in palettes]
        assert (scores[0] != scores[1]) == told


def test_training_brings_the_arg_max_near_the_palette(tmp_path):
    recipe = LayoutRecipe(SMALL, steps=(60, 160), batch=8, rate=2e-3, edits=0.25)
    trainer = LayoutTrainer(recipe, bands(40), PALETTES)
    asked = PALETTES.sample(24, np.random.default_rng(5))
    before = LayoutGenerator(LayoutNetwork(SMALL), PALETTES, NAMES)
    after = LayoutGenerator(trainer.train(tmp_path, show=False), PALETTES, NAMES)
    errors = [
        np.abs(proportions_of(g.generate(asked, 0), 3) - asked).mean() for g in (before, after)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_edits_change_nothing_outside_the_box():
    label = bands(1)[0]
    label[0, 0] = 255  # a pixel of no class stays one
    box = (5, 3, 20, 12)
    edited = generator().edit(label, box, [0.1, 0.1, 0.8])
    outside = np.ones(label.shape, bool)
    outside[3:12, 5:20] = False
    assert np.array_equal(edited[outside], label[outside])
    assert (edited[~outside] != label[~outside]).any()
    assert (edited[~outside] < 3).all()


def test_edits_at_another_size_keep_the_outside_too():
    label = np.kron(bands(1)[0], np.ones((3, 3), np.uint8))
    edited = generator().edit(label, (31, 10, 62, 41), [0.2, 0.3, 0.5])
    assert edited.shape == label.shape
    outside = np.ones(label.shape, bool)
    outside[10:41, 31:62] = False
    assert np.array_equal(edited[outside], label[outside])


@pytest.mark.parametrize("box", [(5, 3, 5, 12), (-1, 0, 4, 4), (0, 0, 33, 4), (0, 9, 4, 4)])
def test_boxes_beyond_the_layout(box):
    with pytest.raises(PaletteError, match="box"):
        generator().edit(bands(1)[0], box, [0.3, 0.3, 0.4])


def test_palettes_of_another_number_of_classes():
    with pytest.raises(PaletteError, match=r"\[N, 3\]"):
        generator().generate([0.5, 0.5])


def test_a_seed_is_a_layout_and_sizes_are_free():
    first, second = generator(), generator()
    asked = [[0.4, 0.4, 0.2]]
    assert np.array_equal(first.generate(asked, 3), second.generate(asked, 3))
    assert not np.array_equal(first.generate(asked, 3), first.generate(asked, 4))
    assert first.generate(asked, 3, (40, 100)).shape == (1, 40, 100)


def test_what_is_saved_is_loaded(tmp_path):
    made = generator(2)
    save_file(made.tensors(), tmp_path / "layout.safetensors")
    (tmp_path / "layout.json").write_text(json.dumps(made.card()))
    again = LayoutGenerator.load(tmp_path / "layout.safetensors")
    assert again.names == NAMES
    asked = [[0.4, 0.4, 0.2]]
    assert np.array_equal(made.generate(asked, 1), again.generate(asked, 1))
    assert np.allclose(again.palettes.means, PALETTES.means)
