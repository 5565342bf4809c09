"""Averages of the weights, which are often a better model than the last weights: moving, and equal over epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def ema_decay_at(step: int, decay: float) -> float:
    """The decay of update number `step` (from 0): min(decay, (1 + step) / (10 + step)).

    The first weights are random; while few updates are averaged, they must be forgotten faster
    (as TensorFlow's ExponentialMovingAverage does with num_updates).
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def ema_update(ema_model: nn.Module, model: nn.Module, decay: float) -> None:
    """ema = decay * ema + (1 - decay) * model, in place, for all parameters and float buffers.

    BatchNorm's statistics are averaged like the weights that they belong to; whole-number buffers are copied.
    """
    average_into(tensors_of(ema_model), tensors_of(model), decay)


def tensors_of(model: nn.Module) -> list[Tensor]:
    """What is averaged of a model, in a fixed order."""
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
    """The epoch (from 1) whose end is the first that stochastic weight averaging takes; after `epochs`: none.

    start: config.train.swa_start, the part of the training that goes before; 1 = off.
    """
    return epochs + 1 if start == 1 else int(start * epochs) + 1


def swa_update(average: nn.Module, model: nn.Module, before: int) -> None:
    """average = mean of the `before` models so far and `model`, in place (Izmailov et al. 2018, arXiv:1803.05407)."""
    ema_update(average, model, before / (before + 1))


@torch.no_grad()
def refresh_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of all BatchNorms to the mean of those of `batches`, float32 (B, C, H, W), each once.

    The mean of weights that lie apart makes activations of a smaller variance than each of them, so the mean of
    the statistics does not fit it (as torch.optim.swa_utils.update_bn). A model without BatchNorm stays as it is
    and takes no batch.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()  # and nothing else: no dropout
    for count, images in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1 / count  # the mean of all batches so far; the first forgets what was before
        model(images)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
