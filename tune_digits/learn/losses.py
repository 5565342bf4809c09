"""Losses on class probabilities, one number per sample. `batch_loss` makes one number of a batch of them.

A head is the class columns of one target. Shape letters: B batch, K class columns (of one head in LOSSES, of all heads
elsewhere), D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_digits.config.loss import CrossEntropy, Focal, GeneralizedCrossEntropy, Loss, SymmetricCrossEntropy


def smooth(targets: Tensor, eps: float) -> Tensor:
    """Targets (B, K) with the fraction `eps`, in [0, 1), spread evenly over the K classes (arXiv:1512.00567).

    >>> smooth(torch.tensor([[0.0, 1.0]]), 0.2)
    tensor([[0.1000, 0.9000]])
    """
    return targets if eps == 0 else targets * (1 - eps) + eps / targets.shape[1]


# ── the losses: logits (B, K) and target probabilities q (B, K) of one head -> (B,) ────────────────────


def cross_entropy(logits: Tensor, targets: Tensor, config: CrossEntropy) -> Tensor:
    """-sum q log p, the usual loss of classification (Goodfellow et al. 2016, Deep Learning, 6.2.2.2)."""
    return F.cross_entropy(logits, targets, reduction="none")


def focal(logits: Tensor, targets: Tensor, config: Focal) -> Tensor:
    """-sum q (1 - p)^gamma log p: hard samples count more (Lin et al. 2017, arXiv:1708.02002).

    Written for soft targets; with one-hot targets it is the paper's formula, with gamma 0 cross-entropy.
    """
    log_p = logits.log_softmax(1)
    # where p rounds to 1, the gradient of (1 - p)^gamma is infinite for gamma < 1, and infinity * 0 is NaN
    miss = (-torch.expm1(log_p)).clamp_min(1e-7)
    return -(targets * miss**config.gamma * log_p).sum(1)


def symmetric_cross_entropy(logits: Tensor, targets: Tensor, config: SymmetricCrossEntropy) -> Tensor:
    """-alpha sum q log p - beta sum p log q, for labels that may be wrong (Wang et al. 2019, arXiv:1908.06112).

    log q is clamped at config.log_zero (the paper's A, -4), so that targets under exp(-4) = 0.018 count as 0. The
    second term is bounded, which limits the effect of wrong labels: with one-hot targets it is -A (1 - p of the label).
    With config.clip both logarithms, of p too, are clamped at log(clip).
    """
    lowest = math.log(config.clip) if config.clip > 0 else config.log_zero
    reverse = -(logits.softmax(1) * targets.log().clamp_min(lowest)).sum(1)
    if config.clip > 0:
        forward = -(targets * logits.log_softmax(1).clamp_min(lowest)).sum(1)
    else:
        forward = F.cross_entropy(logits, targets, reduction="none")
    return config.alpha * forward + config.beta * reverse


def generalized_cross_entropy(logits: Tensor, targets: Tensor, config: GeneralizedCrossEntropy) -> Tensor:
    """sum t (1 - p^q) / q, between cross-entropy and absolute error (Zhang and Sabuncu 2018, arXiv:1805.07836).

    For labels that may be wrong. t are the targets. The limit of q -> 0 is cross-entropy; q = 1 gives 1 - p of the
    label, which is half the absolute error. Without the paper's truncation.
    """
    return -(targets * torch.expm1(config.q * logits.log_softmax(1)) / config.q).sum(1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Any], Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "symmetric_cross_entropy": symmetric_cross_entropy,
    "generalized_cross_entropy": generalized_cross_entropy,
}


# ── weights ────────────────────────────────────────────────────────────────────────────────────────────


def class_weights(config: Loss, counts: Tensor | None, heads: tuple[slice, ...]) -> Tensor | None:
    """float32 (K,): the weight of a sample of each class; None where all weigh the same.

    counts: float (K,), training rows of each class; a class without rows counts as if it had one.
    For a head with n_k rows of class k, N rows and K classes:
      inverse   N / (K n_k), scikit-learn's "balanced": a training row weighs 1 on average
      balanced  proportional to (1 - beta) / (1 - beta^n_k), adding up to K (Cui et al. 2019, arXiv:1901.05555)
    given_weights are taken as they are. Raises ValueError if counts are needed and missing.
    """
    if config.given_weights:
        return torch.tensor(config.given_weights)
    if config.class_weights == "none":
        return None
    if counts is None:
        raise ValueError(f"class_weights: {config.class_weights} needs class_counts")
    weights = torch.empty_like(counts, dtype=torch.float64)
    for head in heads:
        n = counts[head].double()
        rows = n.clamp_min(1)
        if config.class_weights == "inverse":
            weights[head] = n.sum() / (len(n) * rows)
        else:
            raw = (1 - config.class_balance) / (1 - config.class_balance**rows)
            weights[head] = raw * (len(n) / raw.sum())
    return weights.float()


# ── the whole loss of a sample ─────────────────────────────────────────────────────────────────────────


def loss_per_sample(
    logits: Tensor,
    targets: Tensor,
    config: Loss,
    heads: tuple[slice, ...],
    *,
    class_counts: Tensor | None = None,
    teacher: Tensor | None = None,
) -> Tensor:
    """The weighted mean over the heads of `head_losses`, which has the same arguments: float32 (B,)."""
    return weigh_heads(
        head_losses(logits, targets, config, heads, class_counts=class_counts, teacher=teacher), config
    )


def head_losses(
    logits: Tensor,
    targets: Tensor,
    config: Loss,
    heads: tuple[slice, ...],
    *,
    class_counts: Tensor | None = None,
    teacher: Tensor | None = None,
) -> list[Tensor]:
    """The configured loss of each head: logits and targets (B, K) -> float32 (B,) each.

    logits: of any float type; the loss itself is computed in float32, also under autocast. targets: probabilities
    >= 0 that add up to 1 within each head. class_counts: float (K,), see `class_weights`; the weight of a soft target
    is the mean weight of its classes, sum q_k w_k, before smoothing; distillation is not weighted. The mean of a batch
    divides by B, not by the sum of weights. teacher: float (B, K), a teacher's probabilities for the same samples,
    mixed in the same way; given if and only if config.teacher_weight > 0. The caller adds center loss.
    """
    loss = LOSSES[config.name]
    logits, targets = logits.float(), targets.float()
    weights = class_weights(config, class_counts, heads)
    per_head = []
    for h in heads:
        value = loss(logits[:, h], smooth(targets[:, h], config.label_smoothing), config)
        if weights is not None:
            value = value * (targets[:, h] * weights[h].to(value.device)).sum(1)
        if teacher is not None:
            soft = distillation(logits[:, h], teacher[:, h], config.temperature)
            value = torch.lerp(value, soft, config.teacher_weight)
        per_head.append(value)
    return per_head


def weigh_heads(per_head: Sequence[Tensor], config: Loss) -> Tensor:
    """The mean of one tensor per head, weighted by head_weights; all of the same shape."""
    if not config.head_weights:
        return torch.stack(list(per_head)).mean(0)
    total = sum(config.head_weights)
    weighted = [value * (w / total) for value, w in zip(per_head, config.head_weights, strict=True)]
    return torch.stack(weighted).sum(0)


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(p_T, softmax(logits / T)), the student against the teacher (Hinton et al. 2015, arXiv:1503.02531).

    logits and teacher: (B, K) of one head. teacher: probabilities p; p_T is p^(1/T) divided by its sum, which is the
    softmax of the teacher's logits divided by T. Gives float32 (B,), >= 0. The factor T^2 keeps the size of the
    gradients where T changes.
    """
    soft = teacher.float().pow(1 / temperature)
    soft = soft / soft.sum(1, keepdim=True)
    log_p = (logits.float() / temperature).log_softmax(1)
    # F.kl_div, written out: vmap would compute it network by network
    return temperature**2 * (torch.xlogy(soft, soft) - soft * log_p).sum(1)


# ── losses of more than logits and targets ───────────────────────────────────────────────────


def center_loss(features: Tensor, targets: Tensor, centers: Tensor) -> Tensor:
    """sum_k q_k |f - c_k|^2 / 2: features are pulled to the center of their class (Wen et al. 2016, ECCV).

    features: (B, D), the input of the classifier; targets: (B, K), soft ones too, of all heads side by side, which
    share the features and whose losses add up; centers: (K, D). Gives float32 (B,), differentiable in features and
    centers.
    """
    with torch.autocast(features.device.type, enabled=False):
        features, targets, centers = features.float(), targets.float(), centers.float()
        total = targets.sum(1)
        mean = targets @ centers / total[:, None]
        # the distance to the mean center, plus the spread of the centers around it: no (B, K, D) in memory
        spread = targets @ centers.square().sum(1) - total * mean.square().sum(1)
        return (total * (features - mean).square().sum(1) + spread) / 2


def jsd_consistency(clean: Tensor, view1: Tensor, view2: Tensor, heads: tuple[slice, ...]) -> Tensor:
    """Jensen-Shannon divergence of three predictions of one image (AugMix, Hendrycks et al. 2020, arXiv:1912.02781).

    Logits (B, K) of the plain image and of two augmented views; the mean over the heads of
    (KL(p_1, m) + KL(p_2, m) + KL(p_3, m)) / 3 with m the mean of the three. Gives float32 (B,) in [0, log 3], up to
    rounding.
    """
    per_head = []
    for h in heads:
        logs = torch.stack([x[:, h].float().log_softmax(1) for x in (clean, view1, view2)])
        # the logarithm of the mean, from logarithms: finite, with a finite gradient, where a probability rounds to 0
        log_mean = logs.logsumexp(0) - math.log(3)
        per_head.append((logs.exp() * (logs - log_mean)).sum(2).mean(0))
    return torch.stack(per_head).mean(0)
