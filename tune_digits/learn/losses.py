"""Losses on class probabilities, one number per sample; how samples are averaged is the caller's business.

Shape letters: B batch, K class columns (of one head in LOSSES, of all heads in `loss_per_sample`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_digits.config import CrossEntropy, Focal, Loss, SymmetricCrossEntropy

# what Wang et al. put in place of log 0 (their A); targets below exp(-4) = 0.018 count as 0
LOG_ZERO = -4.0


def smooth(targets: Tensor, eps: float) -> Tensor:
    """Targets (B, K) with the part `eps` in [0, 1) spread evenly over the K classes (arXiv:1512.00567)."""
    return targets if eps == 0 else targets * (1 - eps) + eps / targets.shape[1]


def cross_entropy(logits: Tensor, targets: Tensor, config: CrossEntropy) -> Tensor:
    """-sum q log p, for logits (B, K) and target probabilities q (B, K); gives (B,)."""
    return F.cross_entropy(logits, targets, reduction="none")


def focal(logits: Tensor, targets: Tensor, config: Focal) -> Tensor:
    """-sum q (1 - p)^gamma log p (Lin et al. 2017, arXiv:1708.02002), without class weights; gives (B,).

    Written for soft targets; with one-hot targets it is the paper's formula, with gamma 0 cross-entropy.
    """
    log_p = logits.log_softmax(1)
    # where p rounds to 1, the gradient of (1 - p)^gamma is infinite for gamma < 1, and infinity * 0 is NaN
    miss = (-torch.expm1(log_p)).clamp_min(1e-7)
    return -(targets * miss**config.gamma * log_p).sum(1)


def symmetric_cross_entropy(logits: Tensor, targets: Tensor, config: SymmetricCrossEntropy) -> Tensor:
    """-alpha sum q log p - beta sum p log q, with log q >= -4 (Wang et al. 2019, arXiv:1908.06112).

    Gives (B,). The second term is bounded, so wrong labels pull less: with one-hot targets it is
    4 (1 - p of the label).
    """
    reverse = -(logits.softmax(1) * targets.log().clamp_min(LOG_ZERO)).sum(1)
    return config.alpha * F.cross_entropy(logits, targets, reduction="none") + config.beta * reverse


LOSSES: dict[str, Callable[[Tensor, Tensor, Any], Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "symmetric_cross_entropy": symmetric_cross_entropy,
}


def loss_per_sample(logits: Tensor, targets: Tensor, config: Loss, heads: tuple[slice, ...]) -> Tensor:
    """The configured loss, the mean over the heads: logits and targets (B, K) -> float32 (B,).

    targets: probabilities >= 0 that add up to 1 within each head. Logits of any float type; the loss itself
    is computed in float32, also under autocast.
    """
    loss = LOSSES[config.name]
    logits, targets = logits.float(), targets.float()
    per_head = [loss(logits[:, h], smooth(targets[:, h], config.label_smoothing), config) for h in heads]
    return torch.stack(per_head).mean(0)
