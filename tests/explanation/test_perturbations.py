"""What masks do to inputs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ros_xai.explanation import perturbations as p

IMAGE = np.random.default_rng(0).random((3, 12, 16), dtype=np.float32)
GRID = (3, 4)
ONES, ZEROS = np.ones((1, *GRID)), np.zeros((1, *GRID))


@pytest.mark.parametrize("baseline", [p.zero, p.mean_colour, p.BoxBlur(5)])
def test_blend_goes_from_the_baseline_to_the_image(baseline: p.Baseline) -> None:
    perturb = p.Blend(baseline)(IMAGE, GRID)
    np.testing.assert_allclose(perturb(ONES)[0], IMAGE, atol=1e-6)
    np.testing.assert_allclose(perturb(ZEROS)[0], baseline(IMAGE), atol=1e-6)
    middle = perturb(0.25 * ONES)[0]
    np.testing.assert_allclose(middle, 0.25 * IMAGE + 0.75 * baseline(IMAGE), atol=1e-6)


def test_a_nearest_mask_changes_the_pixels_of_its_cell_only() -> None:
    masks = ONES.copy()
    masks[0, 1, 2] = 0
    changed = (p.Blend(interpolation="nearest")(IMAGE, GRID)(masks)[0] != IMAGE).any(0)
    assert changed[4:8, 8:12].all()
    assert changed.sum() == 16


def test_baselines() -> None:
    np.testing.assert_allclose(
        p.mean_colour(IMAGE)[:, 5, 7], IMAGE.reshape(3, -1).mean(1), rtol=1e-5
    )
    blurred = cv2.blur(IMAGE.transpose(1, 2, 0), (10, 10)).transpose(2, 0, 1)
    np.testing.assert_allclose(p.BoxBlur()(IMAGE), blurred, atol=1e-6)


def test_amplitude_multiplies_and_shift_adds() -> None:
    np.testing.assert_allclose(p.Amplitude(2.0)(IMAGE, GRID)(ONES)[0], IMAGE, atol=1e-6)
    np.testing.assert_allclose(p.Amplitude(2.0)(IMAGE, GRID)(ZEROS)[0], -IMAGE, atol=1e-6)
    np.testing.assert_allclose(p.Shift(0.2)(IMAGE, GRID)(ONES)[0], IMAGE + 0.1, atol=1e-6)
    np.testing.assert_allclose(p.Shift(0.2)(IMAGE, GRID)(ZEROS)[0], IMAGE - 0.1, atol=1e-6)


def test_thinning_keeps_whole_returns_about_as_many_as_the_mask_says() -> None:
    sparse = np.where(np.random.default_rng(1).random((1, 90, 120)) < 0.2, 20.0, 0.0)
    sparse = sparse.astype(np.float32)
    perturb = p.Thin()(sparse, GRID)
    masks = np.tile([0.0, 0.3, 0.6, 1.0], (1, 3, 1))
    kept = perturb(masks)[0]
    assert set(np.unique(kept)) == {0.0, 20.0}
    share = [
        (k > 0).sum() / (s > 0).sum() for k, s in zip(np.split(kept, 4, 2), np.split(sparse, 4, 2))
    ]
    np.testing.assert_allclose(share, masks[0, 0], atol=0.05)
    more = perturb(np.minimum(masks + 0.2, 1))[0]
    assert (more[kept > 0] > 0).all()


def test_presence_drops_whole_items() -> None:
    neighbours = np.arange(12, dtype=np.float32).reshape(3, 2, 2) + 1
    kept = p.Presence()(neighbours, (3, 1))(np.array([[[0.9], [0.2], [0.6]]]))
    np.testing.assert_array_equal(kept[0, [0, 2]], neighbours[[0, 2]])
    assert not kept[0, 1].any()
    with pytest.raises(ValueError, match=r"grid \(3, 1\)"):
        p.Presence()(neighbours, (1, 3))


def test_an_image_needs_channels() -> None:
    with pytest.raises(ValueError, match=r"\[C, H, W\]; got \[12, 16\]"):
        p.Blend()(IMAGE[0], GRID)
