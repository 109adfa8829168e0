"""Codes by which a generator rebuilds an image so that the decision sees in it what it saw.

An encoder alone loses what is small, as a lamp is. OCTET (arXiv 2211.12380) inverts an image by a
distance of pixels and of the decision's features; here that goes on from the encoder's codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class InversionConfig:
    """hardest: weight of the mean error of the worst 2 % of the pixels; agreement: weight of what
    the decision sees otherwise; sure: logits beyond count as this one."""

    steps: int = 20
    rate: float = 0.03
    hardest: float = 0.5
    agreement: float = 0.1
    sure: float = 4.0
    bound: float = 1.0


def inversion_loss(
    again: Tensor, image: Tensor, told: Tensor, seen: Tensor, config: InversionConfig
) -> Tensor:
    """|x' - x| + w_h |x' - x|_worst + w_a huber(e(x') - e(x)) of images [1, 3, H, W] and of the
    decision's evidence [1, K]."""
    error = (again - image).abs().mean(dim=1).flatten()
    worst = error.topk(max(1, round(0.02 * len(error)))).values
    loss = error.mean() + config.hardest * worst.mean()
    return loss + config.agreement * F.smooth_l1_loss(told, seen)


def inverted(
    render: Callable[[Tensor], Tensor],
    see: Callable[[Tensor], Tensor],
    image: Tensor,
    start: Tensor,
    config: InversionConfig | None = None,
) -> Tensor:
    """Codes [C, D] from `start` on. render: codes [1, C, D] -> image; see: image [1, 3, H, W] ->
    evidence [1, K]. Codes that the image does not depend on stay."""
    config = config or InversionConfig()
    with torch.no_grad():
        seen = see(image).clamp(-config.sure, config.sure)
    codes = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([codes], config.rate)
    for _ in range(config.steps):
        again = render(codes[None])
        loss = inversion_loss(again, image, see(again), seen, config)
        (codes.grad,) = torch.autograd.grad(loss, codes)
        optimizer.step()
        with torch.no_grad():
            codes.clamp_(-config.bound, config.bound)
    return codes.detach()
