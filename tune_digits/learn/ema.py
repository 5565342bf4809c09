"""A moving average of the weights, which is often a better model than the last weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


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
    averages = [*ema_model.parameters(), *ema_model.buffers()]
    values = [*model.parameters(), *model.buffers()]
    is_float = [v.is_floating_point() for v in values]
    average_in_place = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average_in_place(
        [a for a, f in zip(averages, is_float, strict=True) if f],
        [v for v, f in zip(values, is_float, strict=True) if f],
        0,
    )
    for average, value, floating in zip(averages, values, is_float, strict=True):
        if not floating:
            average.copy_(value)
