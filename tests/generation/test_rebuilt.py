"""Moments rebuilt with other styles: what must stay, stays, and the truth follows the lamps."""

import numpy as np
import torch

from ros_xai.generation.image_network import ImageConfig, ImageNetwork
from ros_xai.generation.scenes import CAUSES
from ros_xai.training.generation_data import Scenes
from ros_xai.training.generation_rebuilt import Rebuilding, Rebuilt, rebuilt, varied
from ros_xai.training.segmentation import Labelled

SKY, ABSENT = 0, 9
REASONS = np.array([[True, False], [False, False], [True, True], [False, False]] * 6)


def codes() -> torch.Tensor:
    """Rows in pairs; a lit class has 0.5 first, an unlit one -0.5; one class is absent."""
    z = torch.rand(len(REASONS), 11, 4, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.1
    for column, index in enumerate(CAUSES):
        z[:, index, 0] = torch.from_numpy(np.where(REASONS[:, column], 0.5, -0.5))
    z[:, ABSENT] = 0
    return z


def test_lamps_keep_their_state_whatever_is_borrowed():
    how = Rebuilding(borrowed=1.0, beyond=0.3, noise=0.05, parted=0.0)
    start = codes()
    moved, reasons = varied(start, REASONS, how, np.random.default_rng(0))
    assert np.array_equal(reasons, REASONS)
    for column, index in enumerate(CAUSES):
        assert np.array_equal(moved[:, index, 0].numpy() > 0, REASONS[:, column])
    assert (moved - start)[:, SKY].norm(dim=1).min() > 0
    assert moved[:, ABSENT].abs().max() == 0


def test_what_does_not_decide_moves_alike_in_both_states():
    how = Rebuilding(borrowed=1.0, beyond=0.0, noise=0.1)
    start = codes()
    start[1::2, SKY] = start[0::2, SKY]
    moved, _ = varied(start, REASONS, how, np.random.default_rng(1))
    assert torch.allclose(moved[1::2, SKY], moved[0::2, SKY])


def test_of_two_causes_one_goes_out_with_its_code():
    how = Rebuilding(borrowed=0.0, beyond=0.0, noise=0.0, parted=1.0)
    moved, reasons = varied(codes(), REASONS, how, np.random.default_rng(2))
    assert (reasons[2::4].sum(axis=1) == 1).all()
    assert {tuple(row) for row in reasons[2::4]} == {(True, False), (False, True)}
    for column, index in enumerate(CAUSES):
        assert np.array_equal(moved[:, index, 0].numpy() > 0, reasons[:, column])
    untouched = np.arange(len(REASONS)) % 4 != 2
    assert torch.equal(moved[untouched], codes()[untouched])


def test_the_first_copy_is_the_reconstruction():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 16, 32, 3), np.uint8)
    labels = rng.integers(0, 11, (4, 16, 32)).astype(np.uint8)
    red, brake = REASONS[:4].T
    scenes = Scenes(Labelled(images, labels), ~red, ~red, red, brake, ~(red | brake))
    torch.manual_seed(0)
    config = ImageConfig(style=8, encoder=(4, 6, 8), layout=4, widths=(8, 8, 8))
    network = ImageNetwork(config).eval()
    made = rebuilt(network, scenes, Rebuilding(copies=2), seed=0)
    assert made.images.shape == (2, *images.shape)
    image = torch.from_numpy(images).movedim(3, 1) / 127.5 - 1
    layout = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 11).movedim(3, 1).float()
    again = (network.reconstruct(image, layout).detach() + 1) * 127.5
    assert np.abs(made.images[0] - again.movedim(1, 3).numpy()).max() <= 0.51
    assert not np.array_equal(made.images[0], made.images[1])
    assert np.array_equal(made.images, rebuilt(network, scenes, Rebuilding(copies=2), 0).images)


def test_a_row_is_drawn_of_any_copy_with_its_truth():
    images = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1)
    reasons = np.stack([images[..., 0, 0, 0] % 2 == 0, images[..., 0, 0, 0] > 2], axis=2)
    drawn, held = Rebuilt(images, reasons).draw(np.full(40, 1), np.random.default_rng(0))
    values = drawn.ravel()
    assert set(values.tolist()) == {1, 4}
    assert np.array_equal(held, np.stack([values % 2 == 0, values > 2], axis=1))
