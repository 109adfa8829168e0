"""LwF and MiB losses against their definitions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ros_xai.segmentation import continual


def test_mib_cross_entropy_gives_the_background_all_old_classes():
    p = torch.tensor([0.1, 0.2, 0.3, 0.4])
    logits = p.log().reshape(1, 4, 1, 1)
    for label, expected in ((0, 0.1 + 0.2 + 0.3), (3, 0.4)):
        loss = continual.mib_cross_entropy(logits, torch.full((1, 1, 1), label), old_classes=3)
        torch.testing.assert_close(loss, -torch.tensor(expected).log())


def test_mib_cross_entropy_ignores_unlabelled_pixels():
    logits, labels = torch.randn(1, 4, 2, 2), torch.tensor([[[0, 3], [255, 255]]])
    kept = continual.mib_cross_entropy(logits[:, :, :1], labels[:, :1], 3)
    torch.testing.assert_close(continual.mib_cross_entropy(logits, labels, 3), kept)


def test_mib_cross_entropy_is_zero_without_a_labelled_pixel():
    logits = torch.randn(1, 4, 2, 2).requires_grad_()
    loss = continual.mib_cross_entropy(logits, torch.full((1, 2, 2), 255), 3)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_mib_distillation_gives_the_new_classes_to_the_old_background():
    old = torch.tensor([0.7, 0.3]).log().reshape(1, 2, 1, 1)
    new = torch.tensor([0.1, 0.5, 0.4]).log().reshape(1, 3, 1, 1)
    expected = -(0.7 * torch.tensor(0.5).log() + 0.3 * torch.tensor(0.5).log()) / 2
    torch.testing.assert_close(continual.mib_distillation(old, new), expected)


def test_both_distillations_are_least_at_the_old_model():
    old = torch.randn(2, 3, 4, 4)
    entropy = -(old.softmax(1) * old.log_softmax(1)).mean(1).mean()
    torch.testing.assert_close(continual.lwf_distillation(old, old), entropy)
    torch.testing.assert_close(continual.mib_distillation(old, old), entropy)
    other = old + torch.randn(2, 3, 4, 4)
    assert continual.lwf_distillation(old, other) > entropy
    assert continual.mib_distillation(old, other) > entropy


def test_lwf_compares_the_old_channels_only():
    old, new = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    expected = F.cross_entropy(new[:, :3], old.softmax(1)) / 3
    torch.testing.assert_close(continual.lwf_distillation(old, new), expected)


def test_distillations_send_no_gradient_into_the_old_model():
    for loss in (continual.lwf_distillation, continual.mib_distillation):
        old, new = (
            torch.randn(1, 3, 2, 2).requires_grad_(),
            torch.randn(1, 4, 2, 2).requires_grad_(),
        )
        loss(old, new).backward()
        assert old.grad is None and new.grad.abs().sum() > 0
