"""Batches, augmentation and scoring."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.training import segmentation as training
from ros_xai.training.loop import LoopConfig, fit

SMALL = NetworkConfig(classes=3, widths=(4, 8, 8, 8), blocks=1, decoder=8)


def stripes(count: int = 6) -> training.Labelled:
    """Images whose red channel says the class: 0, 1 or 2 in vertical stripes of random order."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 3, (count, 1, 4)), 8, axis=2).repeat(32, axis=1)
    images = np.zeros((*labels.shape, 3), np.uint8)
    images[..., 0] = 100 * labels
    return training.Labelled(images, labels.astype(np.uint8))


def test_a_batch_is_a_function_of_its_generator():
    data, augmentation = stripes(), training.Augmentation()
    first, second = (
        training.draw(data, 4, np.random.default_rng(3), augmentation) for _ in range(2)
    )
    assert torch.equal(first["image"], second["image"])
    assert first["image"].shape == (4, 3, 32, 32) and first["label"].dtype == torch.int64


def test_augmentation_moves_the_label_with_its_image():
    data = stripes()
    moved = training.augment(data, np.random.default_rng(0), training.Augmentation(0.5, jitter=0))
    assert not np.array_equal(moved.labels, data.labels)
    # Away from the borders of stripes, where interpolation mixes, red still says the class.
    inside = np.abs(moved.images[..., 0].astype(int) - 100 * moved.labels) < 50
    assert inside.mean() > 0.95


def test_jitter_changes_colours_within_its_bounds_and_labels_not_at_all():
    data = training.Labelled(np.full((40, 8, 8, 3), 100, np.uint8), np.zeros((40, 8, 8), np.uint8))
    changed = training.augment(data, np.random.default_rng(0), training.Augmentation(1.0, 0.2))
    np.testing.assert_array_equal(changed.labels, data.labels)
    assert changed.images.std() > 2
    assert changed.images.min() >= 100 * 0.8 * 0.9 - 1
    assert changed.images.max() <= 100 * 1.2 * 1.1 + 1


def test_cross_entropy_counts_labelled_pixels_only():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    labels[:, 2:] = 255
    expected = torch.nn.functional.cross_entropy(logits[:, :, :2], labels[:, :2])
    torch.testing.assert_close(training.cross_entropy(logits, labels), expected)
    assert training.cross_entropy(logits, torch.full_like(labels, 255)).item() == 0


def test_training_learns_what_is_learnable_and_score_counts_every_pixel(tmp_path):
    torch.manual_seed(0)
    data, network = stripes(), SegmentationNetwork(SMALL)
    before = training.score(network, data)
    assert before.sum() == data.labels.size
    loop = LoopConfig(steps=60, learning_rate=1e-2, checkpoint_every=100)
    fit(
        training.Supervised(network),
        lambda rng: training.draw(data, 4, rng),
        loop,
        tmp_path,
        show=False,
    )
    after = training.score(network, data, batch=4)
    assert np.trace(after) / after.sum() > 0.9 > np.trace(before) / before.sum()
    assert network.training is True  # the mode is given back
    np.testing.assert_array_equal(after, training.score(network, data, batch=1))


@pytest.mark.parametrize("value", [0, 51, 255])
def test_to_tensor_is_rgb_in_zero_to_one(value):
    tensor = training.to_tensor(np.full((2, 4, 6, 3), value, np.uint8))
    assert tensor.shape == (2, 3, 4, 6)
    assert torch.all(tensor == value / 255)
