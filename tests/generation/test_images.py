"""Region-wise styles: pooling, modulation, reconstruction, the bank of codes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ros_xai.generation.image_network import ImageConfig, ImageNetwork, region_pool
from ros_xai.generation.images import ImageGenerator, StyleBank, centred, interpolate
from ros_xai.training.generation import (
    ImageRecipe,
    ImageTrainer,
    differing,
    edge_error,
    hardest,
    hinge,
    region_balanced,
)
from ros_xai.training.segmentation import Labelled

SMALL = ImageConfig(classes=3, style=8, encoder=(4, 6, 8), layout=4, widths=(16, 16, 12))
NAMES = ("sky", "road", "car")


def one_hot(label: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(label, classes).movedim(-1, 1).float()


def streets(count: int) -> Labelled:
    """Two bands and a box, each of one random colour."""
    rng = np.random.default_rng(0)
    labels = np.ones((count, 16, 32), np.uint8)
    images = np.empty((count, 16, 32, 3), np.uint8)
    for label, image in zip(labels, images):
        label[: rng.integers(5, 9)] = 0
        left = int(rng.integers(0, 20))
        label[8:14, left : left + 10] = 2
        image[:] = rng.integers(0, 255, (3, 3))[label]
    return Labelled(images, labels)


def generator(seed: int = 0) -> ImageGenerator:
    torch.manual_seed(seed)
    bank = StyleBank(torch.rand(4, 3, 8) - 0.5, torch.ones(4, 3, dtype=torch.bool))
    return ImageGenerator(ImageNetwork(SMALL), bank, NAMES)


def test_region_pool_is_the_mean_and_maximum_of_numpy():
    features = torch.randn(2, 5, 6, 7)
    label = torch.randint(0, 3, (2, 6, 7), generator=torch.Generator().manual_seed(0))
    pooled = region_pool(features, one_hot(label, 4))
    for b in range(2):
        for c in range(3):
            inside = features[b][:, label[b] == c]
            expected = torch.cat([inside.mean(1), inside.amax(1)])
            assert torch.allclose(pooled[b, c], expected, atol=1e-6)
        assert pooled[b, 3].abs().max() == 0  # absent


def test_a_code_acts_on_the_region_of_its_class():
    torch.manual_seed(0)
    network = ImageNetwork(SMALL).eval()
    label = torch.ones(1, 64, 128, dtype=torch.long)
    label[:, :, :40] = 0
    layout = one_hot(label, 3)
    codes = torch.randn(1, 3, 8)
    other = codes.clone()
    other[:, 0] += 1
    with torch.no_grad():
        change = (network(layout, other) - network(layout, codes)).abs().mean(1)[0]
    assert change[:, :40].mean() > 20 * change[:, 100:].mean()
    absent = codes.clone()
    absent[:, 2] += 1
    with torch.no_grad():
        assert torch.equal(network(layout, absent), network(layout, codes))


def test_losses_against_closed_forms():
    layout = one_hot(torch.tensor([[[0] * 12 + [1] * 4]]), 2)
    error = torch.zeros(1, 1, 1, 16)
    error[..., 12:] = 1
    # weights 1/sqrt(12) x 12 pixels, and 1/2 x 4 pixels of error 1
    assert region_balanced(error, layout).item() == pytest.approx(2 / (12**0.5 + 2))
    assert hardest(error, 0.25).item() == 1
    assert hardest(error, 0.5).item() == pytest.approx(0.5)
    step = torch.zeros(1, 3, 4, 4)
    step[..., 2:] = 1
    assert edge_error(step, torch.zeros_like(step)).item() == pytest.approx(1 / 3)
    assert hinge(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0])).item() == 1.0


def test_training_reconstructs_the_colours_of_regions(tmp_path):
    recipe = ImageRecipe(SMALL, steps=220, batch=4, adversarial_from=0.9)
    trainer = ImageTrainer(recipe, streets(60), streets(60))
    trainer.train(tmp_path, show=False)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["balanced"] < 0.6 * lines[0]["balanced"]
    assert "adversarial" in lines[-1] and "adversarial" not in lines[0]


def test_two_states_of_a_moment_differ_at_lamps_and_are_augmented_alike():
    images = torch.zeros(4, 3, 4, 8)
    images[0, 0, 1, 2] = 0.6  # 0.2 on average over the colours
    images[2:, :, 3] = 0.5  # the same in both states
    where = differing(images)
    assert where.nonzero().tolist() == [[0, 0, 1, 2], [1, 0, 1, 2]]
    moments = Labelled(*(np.repeat(part, 2, axis=0) for part in streets(20)))
    moments.images[0::2, 10, 12:20] = 255
    trainer = ImageTrainer(ImageRecipe(SMALL, moments=5), None, moments)
    image, layout = trainer.batch(np.random.default_rng(0))
    assert image.shape == (10, 3, 16, 32)
    assert torch.equal(layout[0::2], layout[1::2])
    # a line of at most 8 x 1 pixels, enlarged by at most 1 / 0.85 and smoothed
    share = differing(image).mean(dim=(1, 2, 3))
    assert (share[0::2] > 0).all() and (share <= 10 * 3 / (16 * 32)).all()


def test_interpolation_moves_one_region_only():
    first, second = torch.zeros(3, 8), torch.ones(3, 8)
    half = interpolate(first, second, 1, 0.25)
    assert half[1].unique().tolist() == [0.25]
    assert half[[0, 2]].abs().max() == 0


def test_absent_classes_take_the_styles_of_the_most_similar_image():
    codes = torch.stack([torch.full((3, 8), 0.0), torch.full((3, 8), 0.9)])
    present = torch.tensor([[True, True, True], [True, True, True]])
    bank = StyleBank(codes, present)
    asked = torch.full((3, 8), 0.8)
    done = bank.complete(asked, torch.tensor([True, True, False]))
    assert torch.equal(done[:2], asked[:2])
    assert torch.equal(done[2], codes[1, 2])


def test_images_of_any_size_are_fitted_and_painted():
    made, rng = generator(), np.random.default_rng(0)
    image = rng.integers(0, 255, (90, 100, 3)).astype(np.uint8)
    label = rng.integers(0, 3, (90, 100)).astype(np.uint8)
    codes = made.encode(image, label)
    assert codes.shape == (3, 8)
    assert made.render(label[:50], codes).shape == (16, 32, 3)
    assert np.array_equal(
        made.paint(label, np.random.default_rng(1)), made.paint(label, np.random.default_rng(1))
    )
    assert centred(90, 100, 2.0) == (slice(20, 70), slice(0, 100))


def test_what_is_saved_is_loaded(tmp_path):
    made = generator(3)
    save_file(made.tensors(), tmp_path / "image.safetensors")
    (tmp_path / "image.json").write_text(json.dumps(made.card()))
    again = ImageGenerator.load(tmp_path / "image.safetensors")
    label = np.random.default_rng(0).integers(0, 3, (16, 32)).astype(np.uint8)
    assert np.array_equal(
        made.paint(label, np.random.default_rng(1)), again.paint(label, np.random.default_rng(1))
    )
