"""Self-information, discriminators and knowledge transfer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from ros_xai.segmentation import mtuda


def test_self_information_sums_to_the_normalised_entropy():
    p = torch.randn(2, 5, 3, 4).double().softmax(1)
    expected = entropy(p.numpy(), axis=1, base=5)
    np.testing.assert_allclose(mtuda.self_information(p).sum(1).numpy(), expected, atol=1e-12)


def test_self_information_of_a_fair_coin_is_half_each_and_of_certainty_zero():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).reshape(2, 2, 1, 1)
    assert mtuda.self_information(p).flatten().tolist() == [0.5, 0.5, 0, 0]


def test_discriminator_has_the_channels_and_strides_of_the_paper():
    discriminator = mtuda.Discriminator(7)
    shapes = [tuple(p.shape) for p in discriminator.parameters() if p.ndim == 4]
    assert shapes == [
        (64, 7, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (1, 512, 4, 4),
    ]
    assert discriminator(torch.zeros(1, 7, 320, 640)).shape == (1, 1, 10, 20)


def test_domain_loss_of_an_undecided_discriminator_is_log_two():
    logits = torch.zeros(2, 1, 3, 5)
    for domain in (mtuda.SOURCE, mtuda.TARGET):
        assert mtuda.domain_loss(logits, domain).item() == pytest.approx(math.log(2))
    assert (
        mtuda.domain_loss(logits + 9, mtuda.TARGET)
        < 1e-3
        < mtuda.domain_loss(logits + 9, mtuda.SOURCE)
    )


def test_domain_accuracy_is_balanced():
    source, target = torch.tensor([-1.0, -1, -1, 1]), torch.tensor([1.0, -1])
    assert mtuda.domain_accuracy(source, target) == pytest.approx((0.75 + 0.5) / 2)


def test_knowledge_transfer_is_the_kl_divergence_per_pixel():
    teacher, student = torch.randn(2, 4, 3, 3).double(), torch.randn(2, 4, 3, 3).double()
    expected = entropy(teacher.softmax(1).numpy(), student.softmax(1).numpy(), axis=1).mean()
    assert mtuda.knowledge_transfer(teacher, student).item() == pytest.approx(expected)
    assert mtuda.knowledge_transfer(teacher, teacher).item() == 0


def test_knowledge_transfer_teaches_the_student_only():
    teacher, student = (
        torch.randn(1, 4, 2, 2).requires_grad_(),
        torch.zeros(1, 4, 2, 2).requires_grad_(),
    )
    mtuda.knowledge_transfer(teacher, student).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
