"""Averages of the weights, which are often better than the last weights: a moving one, and an equal one over epochs.

Not torch.optim.swa_utils (docs/log.md): its AveragedModel takes the first weights whole, adds a counter to the saved
names and takes twice as long for an update; its update_bn leaves dropout on, which draws from the global generator and
changes the statistics. The tests compare with it where it computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def ema_decay_at(step: int, decay: float) -> float:
    """The decay of update number `step` (from 0): min(decay, (1 + step) / (10 + step)).

    The initial weights are random, so they are forgotten faster while few updates have been averaged (as TensorFlow's
    ExponentialMovingAverage does with num_updates).

    >>> ema_decay_at(0, 0.99), ema_decay_at(10_000, 0.99)
    (0.1, 0.99)
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def ema_update(ema_model: nn.Module, model: nn.Module, decay: float) -> None:
    """ema = decay * ema + (1 - decay) * model, in place, for all parameters and float buffers.

    BatchNorm's statistics are averaged like the weights; buffers of whole numbers are copied.
    """
    average_into(tensors_of(ema_model), tensors_of(model), decay)


def tensors_of(model: nn.Module) -> list[Tensor]:
    """The tensors of a model that are averaged, in a fixed order: parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


@torch.no_grad()
def average_into(averages: Sequence[Tensor], values: Sequence[Tensor], decay: float) -> None:
    """averages = decay * averages + (1 - decay) * values, in place; whole numbers are copied."""
    floats = [(a, v) for a, v in zip(averages, values, strict=True) if v.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [v for _, v in floats], 1 - decay)
    for average, value in zip(averages, values, strict=True):
        if not value.is_floating_point():
            average.copy_(value)


def swa_begins(epochs: int, start: float) -> int:
    """The epoch (from 1) whose end is the first that stochastic weight averaging includes; epochs + 1: none.

    start: config.train.swa_start, the fraction of the training before averaging begins; 1 = off.

    >>> swa_begins(8, 0.75)
    7
    """
    return epochs + 1 if start == 1 else int(start * epochs) + 1


def swa_update(average: nn.Module, model: nn.Module, before: int) -> None:
    """average = the mean of `model` and the `before` models averaged so far, in place (Izmailov et al. 2018,
    arXiv:1803.05407)."""
    ema_update(average, model, before / (before + 1))


@torch.no_grad()
def refresh_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of all BatchNorms to the mean of those of `batches`, float32 (B, C, H, W).

    Averaged weights make activations of a smaller variance than each of the averaged models, so the average of their
    statistics does not fit (as torch.optim.swa_utils.update_bn). A model without BatchNorm stays as it is, and no batch
    is taken.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()  # nothing else: dropout stays off
    for count, images in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1 / count  # the mean of all batches so far, without what was before the first
        model(images)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
