"""What is minimised on one batch: the losses of its samples, their hardest ones, and what is added to them.

Shape letters: B batch, V views, K class columns of all heads.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tune_digits.config import TrialConfig
from tune_digits.config.loss import Loss
from tune_digits.learn.batches import Batch
from tune_digits.learn.losses import head_losses, jsd_consistency, loss_per_sample, weigh_heads


def batch_loss(
    logits: Tensor,
    batch: Batch,
    config: TrialConfig,
    heads: tuple[slice, ...],
    epoch: int,
    *,
    class_counts: Tensor | None = None,
    added: Tensor | None = None,
) -> Tensor:
    """The number, float32 (), that a network minimises on a batch in `epoch` (from 0); logits (V B, K).

    added: float32 (B,), losses that belong to no head, such as center loss. With ohem_form: separate each head, and
    each target set of a mixed batch, chooses its own hardest samples; what belongs to no head is then averaged over all
    samples.
    """
    fraction = kept_fraction(config.loss, epoch, config.train.epochs, mixed=batch.mixed is not None)
    if fraction is None or config.loss.ohem_form == "joint":
        each = loss_of_views(
            logits, batch.targets, config, heads, class_counts=class_counts, teacher=batch.teacher
        )
        return reduce(each if added is None else each + added, fraction)
    size = len(batch.targets)
    total = torch.zeros((), device=logits.device)
    for weight, targets, teacher in _target_sets(batch):
        values = head_losses(
            logits[:size], targets, config.loss, heads, class_counts=class_counts, teacher=teacher
        )
        total = total + weight * weigh_heads([hardest(v, int(fraction * size)) for v in values], config.loss)
    for more in (added, _consistency(logits, size, config, heads)):
        if more is not None:
            total = total + more.mean()
    return total


def _target_sets(batch: Batch) -> Iterator[tuple[float, Tensor, Tensor | None]]:
    """Weight, targets and teacher of each target set: two in a mixed batch, else one."""
    mixed = batch.mixed
    if mixed is None:
        yield 1.0, batch.targets, batch.teacher
        return
    for i, weight in enumerate((mixed.own, 1 - mixed.own)):
        yield weight, mixed.targets[i], None if mixed.teacher is None else mixed.teacher[i]


def loss_of_views(
    logits: Tensor,
    targets: Tensor,
    config: TrialConfig,
    heads: tuple[slice, ...],
    *,
    class_counts: Tensor | None = None,
    teacher: Tensor | None = None,
) -> Tensor:
    """As `loss_per_sample`, for logits (V B, K) of V = 1 view of each sample, or of V = 3 for augmix_jsd > 0.

    Of three views the plain images come first. The configured loss is theirs alone; the Jensen-Shannon divergence of
    the three is added.
    """
    size = len(targets)
    each = loss_per_sample(
        logits[:size], targets, config.loss, heads, class_counts=class_counts, teacher=teacher
    )
    more = _consistency(logits, size, config, heads)
    return each if more is None else each + more


def _consistency(logits: Tensor, size: int, config: TrialConfig, heads: tuple[slice, ...]) -> Tensor | None:
    """float32 (B,): the weighted divergence of three views; None where there is one."""
    if config.augment.augmix_jsd == 0:
        return None
    plain, first, second = torch.split(logits, size)
    return config.augment.augmix_jsd * jsd_consistency(plain, first, second, heads)


# ── hard samples ─────────────────────────────────────────────────────────────────────────────────────


def kept_fraction(config: Loss, epoch: int, epochs: int, *, mixed: bool) -> float | None:
    """The fraction of a batch that ohem keeps in `epoch` (from 0) of `epochs`; None = all of it, without ohem.

    The fraction is ohem_rate until ohem_start, then ohem_rate * exp(-(epoch - ohem_start) / ohem_decay), but at least
    ohem_min. The defaults are those of an entry of Bengali.AI 2020. mixed: whether the batch is mixed.
    """
    if config.reduction == "mean" or (config.ohem_on == "mixed" and not mixed):
        return None
    return config.ohem_rate_at(epoch, epochs)


def reduce(losses: Tensor, fraction: float | None) -> Tensor:
    """One number from the losses (B,) of a batch: their mean, or that of the round(fraction * B) largest."""
    return losses.mean() if fraction is None else hardest(losses, round(fraction * len(losses)))


def hardest(losses: Tensor, count: int) -> Tensor:
    """The mean of the `count` largest of the losses (B,), at least one (online hard example mining, Shrivastava et al.
    2016, arXiv:1604.03540).

    >>> hardest(torch.tensor([1.0, 4.0, 2.0]), 2)
    tensor(3.)
    """
    return losses.topk(max(1, count)).values.mean()
