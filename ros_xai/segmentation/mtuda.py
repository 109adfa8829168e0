"""Adaptation to several unlabelled target domains (Saporta et al., ICCV 2021, arXiv 2108.06962).

Losses and discriminators; the training steps that use them are in training/mtuda.py. Domain labels
of the discriminators: source 0, target 1.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SOURCE, TARGET = 0.0, 1.0


def self_information(probabilities: Tensor) -> Tensor:
    """Weighted self-information -p log2(p) / log2(C); [B, C, H, W] -> [B, C, H, W].

    Its sum over C is the normalised entropy, in [0, 1]. Source: Vu et al., CVPR 2019 (ADVENT).
    """
    classes = probabilities.shape[1]
    return -probabilities * torch.log2(probabilities + 1e-30) / math.log2(classes)


class Discriminator(nn.Sequential):
    """Self-information [B, C, H, W] -> domain logits [B, 1, H/32, W/32].

    Five 4x4 convolutions of stride 2 with LeakyReLU 0.2 between; `width` is 64 in the paper.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        channels = (classes, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(channels[-1], 1, 4, 2, 1))


def domain_loss(domain_logits: Tensor, domain: float) -> Tensor:
    """Binary cross-entropy of every patch's logit against one domain (0 source, 1 target)."""
    return F.binary_cross_entropy_with_logits(domain_logits, torch.full_like(domain_logits, domain))


def domain_accuracy(source_logits: Tensor, target_logits: Tensor) -> float:
    """Balanced share of patches told apart; 0.5 is chance."""
    right = (source_logits < 0).float().mean() + (target_logits >= 0).float().mean()
    return float(right) / 2


def knowledge_transfer(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """KL(teacher || student) per pixel, averaged; no gradient into the teacher.

    Both [B, C, H, W]. Source: MTKT, section 3.3 of the paper.
    """
    teacher = F.log_softmax(teacher_logits.detach(), dim=1)
    student = F.log_softmax(student_logits, dim=1)
    return (teacher.exp() * (teacher - student)).sum(1).mean()
