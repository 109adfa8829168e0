"""Continual steps: what is labelled, what is frozen, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ros_xai.segmentation.network import NetworkConfig, SegmentationNetwork
from ros_xai.segmentation.rehearsal import ObjectMemory
from ros_xai.training import plop, rehearsal
from ros_xai.training.loop import LoopConfig, fit
from ros_xai.training.rehearsal import RehearsalConfig
from ros_xai.training.segmentation import (
    Augmentation,
    Labelled,
    Supervised,
    draw,
    score,
    to_batch,
)

SMALL = NetworkConfig(classes=3, widths=(4, 8, 8, 8), blocks=1, decoder=8)


def scenes(count: int = 8) -> Labelled:
    """Three classes side by side in random order, told apart by colour; labels are classes 0..2."""
    rng = np.random.default_rng(0)
    order = np.stack([rng.permutation(3) for _ in range(count)])
    labels = order.repeat(24, axis=1)[:, None].repeat(64, axis=1).astype(np.uint8)
    images = (255 * np.eye(3)[labels]).astype(np.uint8)
    return Labelled(images, labels)


def test_a_step_sees_its_new_classes_and_calls_the_others_background():
    labels = np.array([[7, 3, 5, 255]], np.uint8)
    seen = plop.step_labels(labels, learnt=[3, 7], visible=[7])
    assert seen.tolist() == [[2, 0, 0, 255]]
    assert plop.step_labels(labels, [3, 7], [3, 7]).tolist() == [[2, 1, 0, 255]]


def test_disjoint_steps_exclude_images_of_future_classes():
    labels = np.array([[[1, 1]], [[1, 2]], [[0, 3]], [[1, 3]]], np.uint8)
    assert plop.step_images(labels, [1], [3], disjoint=False).tolist() == [0, 1, 3]
    assert plop.step_images(labels, [1], [3], disjoint=True).tolist() == [0, 1]


@pytest.mark.parametrize("balanced", [True, False])
def test_a_grown_network_is_a_copy_with_more_classes(balanced):
    old = SegmentationNetwork(SMALL)
    new = plop.grown(old, 2, balanced)
    assert new.config.classes == 5 and old.config.classes == 3
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert new.eval()(image).shape[1] == 5
        torch.testing.assert_close(new(image)[:, 1:3], old.eval()(image)[:, 1:3])
        if not balanced:
            torch.testing.assert_close(new(image)[:, :1], old(image)[:, :1])
    assert plop.grown(old, 0, balanced).config.classes == 3


def test_a_step_leaves_the_old_network_and_all_statistics_untouched():
    torch.manual_seed(0)
    data, old = scenes(), SegmentationNetwork(SMALL)
    step = plop.ContinualStep(
        plop.grown(old, 1, True),
        old,
        plop.plop_objective,
        plop.ContinualConfig(logits_factor=0),
    ).train()
    before = {name: value.clone() for name, value in step.state_dict().items()}
    losses = step(to_batch(data))
    losses["loss"].backward()
    for name, value in step.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in old.parameters())
    assert step.network.stem[0].weight.grad is not None
    # Before the first update the backbones are one: no distance that batches could have made.
    assert losses["distillation"].item() == 0
    assert losses["loss"].item() == losses["cross_entropy"].item() > 0


@pytest.mark.parametrize("part", ["stages.0", "stages.2", "laterals.1", "heads.main.embed"])
def test_local_pod_holds_whatever_the_classifier_reads(part):
    torch.manual_seed(0)
    old = SegmentationNetwork(SMALL)
    config = plop.ContinualConfig(logits_factor=0)
    step = plop.ContinualStep(plop.grown(old, 1, True), old, plop.plop_objective, config).train()
    with torch.no_grad():
        for weight in step.network.get_submodule(part).parameters():
            weight.mul_(1.5)
    assert step(to_batch(scenes()))["distillation"].item() > 0


def test_thresholds_have_one_entry_per_old_class_and_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    data, old = scenes(), SegmentationNetwork(SMALL)
    blank = Labelled(data.images, np.zeros_like(data.labels))
    thresholds = plop.median_entropies(old, blank, batch=3)
    assert thresholds.shape == (3,)
    torch.testing.assert_close(thresholds, plop.median_entropies(old, blank, batch=8))
    floor = thresholds.max().item() + 0.1
    assert plop.median_entropies(old, blank, floor).tolist() == pytest.approx([floor] * 3)


def test_thresholds_are_those_of_images_as_training_sees_them(tmp_path, monkeypatch):
    seen = []

    def thresholds(old, data, minimum):
        seen.append((data.images.shape, minimum))
        return torch.full((3,), minimum)

    monkeypatch.setattr(plop, "median_entropies", thresholds)
    method = plop.Method(config=plop.FITTED, batch=2, augmentation=Augmentation(shrink=2.0))
    old, data = SegmentationNetwork(SMALL), scenes()
    blank = Labelled(data.images, np.zeros_like(data.labels))
    plop.learn_step(old, blank, 1, method, LoopConfig(steps=1), tmp_path)
    count, height, width, _ = data.images.shape
    assert seen == [((count, 2 * height, 2 * width, 3), plop.FITTED.trust)]


@pytest.mark.parametrize(
    ("objective", "balanced"),
    [("fine-tuning", False), ("lwf", False), ("mib", True), ("plop", True)],
)
def test_mib_and_plop_start_a_new_class_as_the_background(tmp_path, objective, balanced):
    old, data = SegmentationNetwork(SMALL), scenes()
    method = plop.Method(objective, plop.ContinualConfig(entropy=False), batch=2)
    network = plop.learn_step(old, data, 1, method, LoopConfig(steps=0), tmp_path)
    weight = network.heads["main"].classifier.weight
    assert torch.equal(weight[3], weight[0]) is balanced


def test_without_entropy_no_pixel_is_distrusted(tmp_path, monkeypatch):
    def thresholds(*arguments):
        raise AssertionError("thresholds were asked for")

    monkeypatch.setattr(plop, "median_entropies", thresholds)
    method = plop.Method("plop", plop.ContinualConfig(entropy=False), batch=2)
    plop.learn_step(SegmentationNetwork(SMALL), scenes(), 1, method, LoopConfig(1), tmp_path)


def test_a_step_with_a_memory_is_shown_its_objects(tmp_path, monkeypatch):
    data, shown = scenes(), []
    memory = ObjectMemory(budget=10_000)
    rehearsal.remember(memory, data, [2], np.random.default_rng(0))
    blank = Labelled(data.images, np.zeros_like(data.labels))
    seeing = plop.to_batch

    def see(batch):
        shown.append((batch.labels == 2).any())
        return seeing(batch)

    monkeypatch.setattr(plop, "to_batch", see)
    method = plop.Method(
        "fine-tuning", plop.ContinualConfig(entropy=False), 2, rehearsal=RehearsalConfig(share=1.0)
    )
    for remembered in (None, memory):
        folder = tmp_path / str(remembered is None)
        plop.learn_step(
            SegmentationNetwork(SMALL), blank, 1, method, LoopConfig(2), folder, remembered
        )
    assert shown == [False, False, True, True]


def learn(tmp_path, name: str, objective: str, **config) -> np.ndarray:
    """Learn class 2 after background, 0 and 1 were known; the confusion over all of them."""
    torch.manual_seed(0)
    data, network = scenes(), SegmentationNetwork(SMALL)
    first = Labelled(data.images, plop.step_labels(data.labels, [0, 1], [0, 1]))
    loop = LoopConfig(steps=80, learning_rate=1e-2, checkpoint_every=1000)
    fit(Supervised(network), lambda rng: draw(first, 4, rng), loop, tmp_path / "first", show=False)
    second = Labelled(data.images, plop.step_labels(data.labels, [0, 1, 2], [2]))
    method = plop.Method(objective, plop.ContinualConfig(**config), batch=4)
    loop = LoopConfig(steps=40, learning_rate=1e-2, checkpoint_every=1000)
    network = plop.learn_step(network, second, 1, method, loop, tmp_path / name)
    everything = Labelled(data.images, plop.step_labels(data.labels, [0, 1, 2], [0, 1, 2]))
    return score(network, everything)


def test_plop_learns_the_new_class_and_keeps_the_old_ones_that_fine_tuning_loses(tmp_path):
    kept = learn(tmp_path, "plop", "plop")
    lost = learn(tmp_path, "fine-tuning", "fine-tuning", entropy=False)
    assert np.diag(kept)[1:].sum() / kept.sum() > 0.9
    assert np.diag(lost)[1:3].sum() < 0.3 * lost[1:3].sum()  # the old classes became background


def test_rehearsal_pastes_labelled_objects_and_erases_as_many_contexts_as_asked():
    data = Labelled(np.full((40, 32, 32, 3), 9, np.uint8), np.zeros((40, 32, 32), np.uint8))
    source = Labelled(data.images[:1] * 10, np.zeros((1, 32, 32), np.uint8))
    source.labels[0, 4:14, 4:14] = 2
    memory, rng = ObjectMemory(budget=1000), np.random.default_rng(0)
    rehearsal.remember(memory, source, [2], rng)
    half = rehearsal.RehearsalConfig(erased=0.5)
    rehearsed = rehearsal.rehearse(data, memory, rng, half)
    pasted = (rehearsed.labels == 2).any((1, 2))
    assert 5 <= pasted.sum() <= 20
    assert (rehearsed.images[rehearsed.labels == 2] == 90).all()
    erased = (rehearsed.labels == 255).any((1, 2))
    assert 0 < erased.sum() < pasted.sum()
    rehearsed = rehearsal.rehearse(data, memory, rng)
    assert (rehearsed.labels == 2).any() and not (rehearsed.labels == 255).any()
    assert not data.labels.any()  # the data set itself is untouched


def test_rehearsal_neither_covers_nor_erases_what_the_step_labels():
    data = Labelled(np.full((40, 32, 32, 3), 9, np.uint8), np.zeros((40, 32, 32), np.uint8))
    data.labels[:, 8:20] = 3
    source = Labelled(data.images[:1] * 10, np.zeros((1, 32, 32), np.uint8))
    source.labels[0, 4:14, 4:14] = 2
    memory, rng = ObjectMemory(budget=1000), np.random.default_rng(0)
    rehearsal.remember(memory, source, [2], rng)
    rehearsed = rehearsal.rehearse(data, memory, rng, rehearsal.RehearsalConfig(erased=0.5))
    assert (rehearsed.labels == 2).any((1, 2)).sum() >= 3
    assert (rehearsed.labels == 255).any()
    assert (rehearsed.labels[:, 8:20] == 3).all() and (rehearsed.images[:, 8:20] == 9).all()


def test_rehearsal_without_memory_changes_nothing():
    data = scenes()
    rehearsed = rehearsal.rehearse(data, ObjectMemory(budget=10), np.random.default_rng(0))
    np.testing.assert_array_equal(rehearsed.images, data.images)
    np.testing.assert_array_equal(rehearsed.labels, data.labels)
