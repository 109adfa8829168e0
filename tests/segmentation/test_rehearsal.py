"""Cut-outs keep the object, the budget holds, and pasting changes the object's pixels only."""

from __future__ import annotations

import numpy as np
import pytest

from ros_xai.segmentation.rehearsal import Crop, ObjectMemory, cut_objects, erase_context, paste


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    label = np.zeros((40, 60), np.uint8)
    label[10:20, 5:15] = 3
    label[30:36, 40:55] = 3
    label[0, 0] = 3  # a speck
    return image, label


def test_every_region_above_the_least_area_becomes_a_crop():
    image, label = scene()
    crops = cut_objects(image, label, 3, minimum_area=20)
    assert sorted(crop.corner for crop in crops) == [(10, 5), (30, 40)]
    assert {crop.mask.shape for crop in crops} == {(10, 10), (6, 15)}
    first = next(crop for crop in crops if crop.corner == (10, 5))
    np.testing.assert_array_equal(first.pixels, image[10:20, 5:15].reshape(-1, 3))
    assert first.nbytes == 3 * 100 + 13  # 100 bits of mask take 13 bytes


def test_memory_stays_within_the_budget_of_each_class():
    memory = ObjectMemory(budget=900)
    rng = np.random.default_rng(0)
    for seed in range(20):
        image, label = scene(seed)
        memory.add(image, label, 3, rng)
        assert memory.nbytes(3) <= 900
    assert len(memory.crops[3]) >= 2
    assert memory.seen[3] == 40


def test_a_full_memory_keeps_early_and_late_objects_alike():
    late = []
    for seed in range(200):
        memory, rng = ObjectMemory(budget=700), np.random.default_rng(seed)
        label = np.zeros((20, 20), np.uint8)
        label[:10, :10] = 1
        for value in range(10):
            memory.add(np.full((20, 20, 3), value, np.uint8), label, 1, rng)
        late += [int(crop.pixels[0, 0]) >= 5 for crop in memory.crops[1]]
    assert len(late) == 400
    assert np.mean(late) == pytest.approx(0.5, abs=0.1)


def test_an_empty_memory_draws_nothing():
    assert ObjectMemory(budget=100).draw(np.random.default_rng(0)) is None


def test_paste_writes_the_object_and_nothing_else():
    image, label = scene()
    crop = cut_objects(image, label, 3, 20)[0]
    canvas, blank = np.zeros((40, 60, 3), np.uint8), np.full((40, 60), 7, np.uint8)
    pasted_image, pasted_label, mask = paste(canvas, blank, crop, np.random.default_rng(1))
    assert mask.sum() == crop.mask.sum()
    np.testing.assert_array_equal(pasted_image[mask], crop.pixels)
    assert (pasted_label[mask] == 3).all() and (pasted_label[~mask] == 7).all()
    assert not pasted_image[~mask].any() and not canvas.any()
    assert np.flatnonzero(mask.any(1))[0] == crop.corner[0]


def test_an_object_comes_back_to_its_place_or_as_near_as_it_fits():
    image, label = scene()
    crop = cut_objects(image, label, 3, 20)[1]
    place = np.zeros((40, 60), bool)
    place[30:36, 40:55] = True
    np.testing.assert_array_equal(paste(image * 0, label * 0, crop)[2], place)
    small = paste(image[:34, :50] * 0, label[:34, :50] * 0, crop)[2]
    assert small[28:34, 35:50].all() and small.sum() == 90


def test_paste_refuses_an_object_larger_than_the_image():
    crop = Crop(np.zeros((100, 3), np.uint8), np.ones((10, 10), bool), 1, (0, 0))
    with pytest.raises(ValueError, match="does not fit"):
        paste(
            np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), crop, np.random.default_rng()
        )


def test_erased_context_is_flat_and_ignored():
    image, label = scene()
    pasted = label == 3
    erased, ignored = erase_context(image, label, pasted)
    np.testing.assert_array_equal(erased[pasted], image[pasted])
    assert len(np.unique(erased[~pasted], axis=0)) == 1
    assert (ignored[~pasted] == 255).all() and (ignored[pasted] == 3).all()
