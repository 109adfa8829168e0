"""Losses of the methods that PLOP is compared with: LwF and MiB.

LwF: Li and Hoiem, TPAMI 2018. MiB: Cermelli et al., CVPR 2020 (arXiv 2002.00718).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ros_xai.data.segmentation import IGNORE
from ros_xai.segmentation.plop import BACKGROUND


def lwf_distillation(old_logits: Tensor, new_logits: Tensor) -> Tensor:
    """Cross-entropy of the new model's old channels under the old model, averaged over pixels.

    old_logits: [B, C_old, H, W] (no gradient), new_logits: [B, C, H, W].
    """
    old_classes = old_logits.shape[1]
    target = old_logits.detach().softmax(1)
    return -(target * new_logits[:, :old_classes].log_softmax(1)).mean(1).mean()


def mib_cross_entropy(logits: Tensor, labels: Tensor, old_classes: int) -> Tensor:
    """Cross-entropy in which a background pixel may be any old class (MiB, eq. 3 and 4).

    logits: [B, C, H, W]; labels: [B, H, W] with new classes >= old_classes, background or IGNORE.
    0 with a gradient path when every pixel is IGNORE.
    """
    log_p = logits.log_softmax(1)
    background = log_p[:, :old_classes].logsumexp(1, keepdim=True)
    log_p = torch.cat([background, log_p[:, 1:]], 1)
    total = F.nll_loss(log_p, labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def mib_distillation(old_logits: Tensor, new_logits: Tensor) -> Tensor:
    """Distillation in which the old background may be any new class (MiB, eq. 6 and 7).

    old_logits: [B, C_old, H, W] (no gradient), new_logits: [B, C, H, W].
    """
    old_classes = old_logits.shape[1]
    log_p = new_logits.log_softmax(1)
    unknown = torch.cat([log_p[:, BACKGROUND : BACKGROUND + 1], log_p[:, old_classes:]], 1)
    folded = torch.cat([unknown.logsumexp(1, keepdim=True), log_p[:, 1:old_classes]], 1)
    return -(old_logits.detach().softmax(1) * folded).mean(1).mean()
