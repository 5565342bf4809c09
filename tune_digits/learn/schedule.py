"""Learning-rate schedules as pure functions: step -> factor of the peak learning rate.

Nothing is remembered between calls, so a training that is taken up again needs no schedule state. Steps count
weight updates from 0. A schedule runs over the steps that the warm-up leaves: its first value comes at the
first of them, its last value at the last update of the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tune_digits.config import Constant, Cosine, OneCycle, Plateau, Schedule, Step


def _along_cosine(start: float, end: float, part: float) -> float:
    """From start to end along half a cosine, for part in 0..1."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def constant(config: Constant, step: int, steps: int, history: Sequence[float]) -> float:
    """Always 1."""
    return 1.0


def cosine(config: Cosine, step: int, steps: int, history: Sequence[float]) -> float:
    """From 1 to `final` along half a cosine (arXiv:1608.03983 without its restarts)."""
    return _along_cosine(1.0, config.final, step / max(1, steps - 1))


def one_cycle(config: OneCycle, step: int, steps: int, history: Sequence[float]) -> float:
    """Up from `start` to 1, then down to `final` (arXiv:1708.07120; PyTorch's OneCycleLR in two phases)."""
    # PyTorch's place of the peak, but never before the first step: a training of very few steps only falls
    peak = max(0.0, config.peak_at * steps - 1)
    if step < peak:
        return _along_cosine(config.start, 1.0, step / peak)
    fall = steps - 1 - peak
    return _along_cosine(1.0, config.final, (step - peak) / fall if fall > 0 else 0.0)


def multi_step(config: Step, step: int, steps: int, history: Sequence[float]) -> float:
    """`factor` to the power of the number of milestones reached (PyTorch's MultiStepLR)."""
    return config.factor ** sum(step >= round(part * steps) for part in config.milestones)


def plateau(config: Plateau, step: int, steps: int, history: Sequence[float]) -> float:
    """`factor` to the power of the number of plateaus in `history` (PyTorch's ReduceLROnPlateau, relative).

    An epoch not below best * (1 - min_delta), or NaN, is a bad one; after more than `patience` bad ones in a
    row the rate falls and the count starts anew.
    """
    falls, bad, best = 0, 0, math.inf
    for loss in history:
        if loss < best * (1 - config.min_delta):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > config.patience:
            falls, bad = falls + 1, 0
    return config.factor**falls


SCHEDULES: dict[str, Callable[[Any, int, int, Sequence[float]], float]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "step": multi_step,
    "plateau": plateau,
}


def multiplier(
    config: Schedule, step: int, steps_per_epoch: int, total_steps: int, history: Sequence[float]
) -> float:
    """The factor in [0, 1] of the peak learning rate for update `step`, 0 <= step < total_steps.

    history: the loss of each finished epoch, oldest first; only plateau reads it, and only the epochs that
    began after the warm-up. During `warmup_epochs` the factor rises in equal steps, from one step above 0 to
    the schedule's first value: no update is wasted on a rate of 0.
    """
    schedule = SCHEDULES[config.name]
    warmup = round(config.warmup_epochs * steps_per_epoch)
    rest = max(1, total_steps - warmup)
    if step < warmup:
        return schedule(config, 0, rest, ()) * (step + 1) / (warmup + 1)
    return schedule(config, step - warmup, rest, history[math.ceil(config.warmup_epochs) :])
