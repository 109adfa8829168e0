"""Local POD, pseudo-labels and the classifier's growth, against closed forms and numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ros_xai.segmentation import plop

sizes = st.integers(4, 13)


def windows_by_definition(x: torch.Tensor, scale: int) -> list[torch.Tensor]:
    """Row and column means of every window of the squared map, as the paper writes them."""
    rows = np.array_split(np.arange(x.shape[2]), scale)
    columns = np.array_split(np.arange(x.shape[3]), scale)
    pooled = []
    for r in rows:
        for c in columns:
            window = x.square()[:, :, r][:, :, :, c]
            pooled += [window.mean(3).flatten(1), window.mean(2).flatten(1)]
    return pooled


@settings(max_examples=25, deadline=None)
@given(sizes, sizes, st.integers(0, 1000))
def test_local_pod_holds_the_row_and_column_means_of_every_window(height, width, seed):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed)).double()
    expected = torch.cat([p for s in (1, 2, 4) for p in windows_by_definition(x, s)], 1)
    embedding = plop.local_pod(x)
    assert embedding.shape == (2, 3 * (height + width) * 7)
    # The same numbers in another order: the distance is a norm and does not see the order.
    torch.testing.assert_close(embedding.sort(1).values, expected.sort(1).values)


def test_local_pod_at_scale_one_is_the_means_over_width_and_over_height():
    x = torch.randn(2, 3, 5, 8)
    expected = torch.cat([(x**2).mean(3).flatten(1), (x**2).mean(2).flatten(1)], 1)
    torch.testing.assert_close(plop.local_pod(x, (1,)), expected)


def test_local_pod_of_a_constant_map_is_its_square():
    assert (plop.local_pod(torch.full((1, 2, 6, 9), -3.0)) == 9).all()


def test_local_pod_refuses_a_map_smaller_than_its_scale():
    with pytest.raises(ValueError, match="3x8 cannot be cut into 4"):
        plop.local_pod(torch.zeros(1, 1, 3, 8))


def test_pod_distance_of_two_constant_maps_has_a_closed_form():
    a, b = torch.full((1, 2, 4, 6), 1.0), torch.full((1, 2, 4, 6), 2.0)
    entries = 2 * (4 + 6) * 7
    assert plop.pod_distance(a, b).item() == pytest.approx(3 * math.sqrt(entries))


def feature_maps(classes: int, requires_grad: bool = False) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = {
        "stage1": torch.randn(2, 4, 9, 12, generator=generator),
        "stage2": torch.randn(2, 6, 5, 6, generator=generator),
        "logits": torch.randn(2, classes, 9, 12, generator=generator),
    }
    return {name: value.requires_grad_(requires_grad) for name, value in maps.items()}


def test_distillation_of_a_model_with_itself_is_exactly_zero():
    assert plop.distillation(feature_maps(5), feature_maps(5)).item() == 0


def test_distillation_sends_no_gradient_into_the_old_model():
    old, new = feature_maps(5, True), feature_maps(7, True)
    plop.distillation(old, new).backward()
    assert all(value.grad is None for value in old.values())
    assert new["logits"].grad.abs().sum() > 0


def test_distillation_weighs_layers_by_the_share_of_new_classes():
    old, new = feature_maps(5), feature_maps(7)
    folded = new["logits"][:, :5].clone()
    folded[:, 0] += new["logits"][:, 5:].sum(1)
    layers = [
        0.01 * plop.pod_distance(old["stage1"], new["stage1"]),
        0.01 * plop.pod_distance(old["stage2"], new["stage2"]),
        0.0005 * plop.pod_distance(old["logits"], folded),
    ]
    expected = math.sqrt(7 / 2) * sum(layers) / 3
    torch.testing.assert_close(plop.distillation(old, new), expected)


def test_distillation_names_layers_that_do_not_match():
    with pytest.raises(ValueError, match="stage1"):
        plop.distillation(feature_maps(5), {"logits": torch.zeros(1, 5, 8, 8)})


def test_normalised_entropy_is_one_for_uniform_and_zero_for_certain():
    p = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0]]).reshape(2, 4, 1, 1)
    torch.testing.assert_close(plop.normalised_entropy(p).flatten(), torch.tensor([1.0, 0.0]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_thresholds_are_the_medians_of_background_pixels_to_one_bin(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(3, classes, 16, 20, generator=generator)
    labels = torch.randint(0, 2, (3, 16, 20), generator=generator) * 9
    p = logits.softmax(1)
    parts = [plop.entropy_histogram(p[i : i + 1], labels[i : i + 1]) for i in range(3)]
    thresholds = plop.entropy_thresholds(torch.stack(parts).sum(0))
    entropy, prediction = plop.normalised_entropy(p), p.argmax(1)
    for c in range(classes):
        chosen = entropy[(labels == 0) & (prediction == c)].numpy()
        # The two middle values of an even number may lie bins apart: any value between is a median.
        low, high = (
            np.quantile(chosen, 0.5, method=method) if len(chosen) else 0.001
            for method in ("lower", "higher")
        )
        assert low - 1 / plop.BINS <= thresholds[c].item() <= high + 1 / plop.BINS


def test_the_median_is_where_half_of_the_counts_lie_below():
    counts = torch.tensor([[0, 4, 0, 0], [2, 2, 0, 0], [1, 0, 2, 1], [0, 0, 0, 5]])
    thresholds = plop.entropy_thresholds(counts)
    assert thresholds.tolist() == pytest.approx([1.5 / 4, 1 / 4, 2.5 / 4, 3.5 / 4])
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4]]).T.reshape(1, 2, 1, 2)  # entropies 0.469 and 0.971
    counts = plop.entropy_histogram(p, torch.zeros(1, 1, 2, dtype=torch.long), bins=10)
    assert counts.tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [0] * 10]


def test_threshold_has_a_floor():
    certain = torch.zeros(1, 2, 4, 4)
    certain[:, 1] = 1
    histogram = plop.entropy_histogram(certain, torch.zeros(1, 4, 4, dtype=torch.long), bins=10_000)
    assert plop.entropy_thresholds(histogram).tolist() == pytest.approx([0.001, 0.001])


def test_pseudo_labels_trust_only_background_pixels_below_the_threshold_of_their_class():
    p = torch.tensor([[0.98, 0.02], [0.02, 0.98], [0.6, 0.4], [0.02, 0.98]]).T.reshape(1, 2, 2, 2)
    labels = torch.tensor([[[0, 0], [0, 2]]])
    completed, nu = plop.pseudo_labels(labels, p, torch.tensor([0.5, 0.5]))
    assert completed.tolist() == [[[0, 1], [255, 2]]]
    assert nu.item() == pytest.approx(2 / 3)
    # A threshold per class: class 1 is no longer trusted.
    completed, nu = plop.pseudo_labels(labels, p, torch.tensor([0.5, 0.0]))
    assert completed.tolist() == [[[0, 255], [255, 2]]]
    assert nu.item() == pytest.approx(1 / 3)


def test_without_thresholds_every_background_pixel_takes_the_old_class():
    p = torch.randn(2, 3, 4, 4).softmax(1)
    completed, nu = plop.pseudo_labels(torch.zeros(2, 4, 4, dtype=torch.long), p, None)
    assert torch.equal(completed, p.argmax(1))
    assert nu.tolist() == [1, 1]


def test_an_image_without_background_keeps_its_full_loss():
    labels = torch.full((1, 4, 4), 3)
    completed, nu = plop.pseudo_labels(labels, torch.rand(1, 2, 4, 4), torch.zeros(2))
    assert torch.equal(completed, labels) and nu.item() == 1


def test_pseudo_label_loss_scales_each_image_by_its_nu_and_its_share_of_labelled_pixels():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    labels[0, :3] = 255
    each = [
        nn.functional.cross_entropy(logits[i : i + 1], labels[i : i + 1], ignore_index=255)
        for i in range(2)
    ]
    loss = plop.pseudo_label_loss(logits, labels, torch.tensor([0.25, 1.0]))
    torch.testing.assert_close(loss, (0.25 * each[0] / 4 + each[1]) / 2)


def test_pseudo_label_loss_of_ignored_images_is_zero():
    labels = torch.full((1, 4, 4), 255)
    assert plop.pseudo_label_loss(torch.randn(1, 3, 4, 4), labels, torch.ones(1)).item() == 0


@pytest.mark.parametrize("new", [1, 3])
def test_grown_classifier_shares_the_background_among_the_new_classes(new):
    old = nn.Conv2d(6, 4, 1)
    grown = plop.grow_classifier(old, new)
    x = torch.randn(2, 6, 5, 5)
    before, after = old(x).softmax(1), grown(x).softmax(1)
    torch.testing.assert_close(after[:, 1:4], before[:, 1:])
    unknown = torch.cat([after[:, :1], after[:, 4:]], 1)
    torch.testing.assert_close(unknown, (before[:, :1] / (new + 1)).expand_as(unknown))


def test_an_added_background_comes_first_and_costs_the_known_classes_little():
    torch.manual_seed(0)
    old = nn.Conv2d(6, 4, 1)
    larger = plop.with_background(old)
    x = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(larger(x)[:, 1:], old(x))
    torch.testing.assert_close(larger(x)[:, 0], old(x).mean(1) + plop.UNLIKELY)
    assert larger(x).softmax(1)[:, 0].max() < math.exp(plop.UNLIKELY)


@pytest.mark.parametrize("change", [plop.with_background, lambda c: plop.grow_classifier(c, 1)])
def test_a_classifier_without_bias_is_refused(change):
    with pytest.raises(ValueError, match="with a bias"):
        change(nn.Conv2d(4, 3, 1, bias=False))
