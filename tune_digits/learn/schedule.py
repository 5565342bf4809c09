"""Learning-rate schedules as pure functions: step -> factor of the peak learning rate.

Nothing is remembered between calls, so a training that is taken up again needs no schedule state. Steps count
weight updates from 0. A schedule runs over the steps that the warm-up leaves: its first value comes at the
first of them, its last value at the last update of the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tune_digits.config import Train
from tune_digits.config.schedule import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    StepEpochs,
    Triangular,
)
from tune_digits.learn.epoch import EpochReport


@dataclass(frozen=True, slots=True)
class Place:
    """Where a training stands: its update `step` of `steps`, both counted after the warm-up of `warmup` updates."""

    step: int
    steps: int
    warmup: int
    per_epoch: int
    history: Sequence[float]

    @property
    def epoch(self) -> float:
        """Epochs since the warm-up."""
        return self.step / self.per_epoch


def _along_cosine(start: float, end: float, part: float) -> float:
    """From start to end along half a cosine, for part in 0..1."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def constant(config: Constant, at: Place) -> float:
    """Always 1."""
    return 1.0


def exponential(config: Exponential, at: Place) -> float:
    """`factor` to the power of the epochs (PyTorch's ExponentialLR, stepped at every update)."""
    return config.factor**at.epoch


def cosine(config: Cosine, at: Place) -> float:
    """From 1 to `final` along half a cosine (arXiv:1608.03983 without its restarts)."""
    return _along_cosine(1.0, config.final, at.step / max(1, at.steps - 1))


def cosine_restarts(config: CosineRestarts, at: Place) -> float:
    """From 1 towards `final` in every cycle (PyTorch's CosineAnnealingWarmRestarts, stepped at every update)."""
    start, length = 0, config.first
    while at.epoch >= start + length:
        start, length = start + length, length * config.growth
    return _along_cosine(1.0, config.final, (at.epoch - start) / length)


def one_cycle(config: OneCycle, at: Place) -> float:
    """Up from `start` to 1, then down to `final` (arXiv:1708.07120; PyTorch's OneCycleLR in two phases)."""
    # PyTorch's place of the peak, but never before the first step: a training of very few steps only falls
    peak = max(0.0, config.peak_at * at.steps - 1)
    if at.step < peak:
        return _along_cosine(config.start, 1.0, at.step / peak)
    fall = at.steps - 1 - peak
    return _along_cosine(1.0, config.final, (at.step - peak) / fall if fall > 0 else 0.0)


def triangular(config: Triangular, at: Place) -> float:
    """Straight up from `low` and down again in every cycle, each triangle `shrink` times as high (CyclicLR)."""
    cycle, part = divmod(at.epoch / config.cycle, 1.0)
    height = part / config.peak_at if part <= config.peak_at else (1 - part) / (1 - config.peak_at)
    return config.low + (1 - config.low) * config.shrink**cycle * height


def multi_step(config: Step, at: Place) -> float:
    """`factor` to the power of the number of milestones reached (PyTorch's MultiStepLR)."""
    return config.factor ** sum(at.step >= round(part * at.steps) for part in config.milestones)


def step_epochs(config: StepEpochs, at: Place) -> float:
    """The product of the factors of the milestones reached, in epochs of the whole training."""
    factors = config.factors * (len(config.milestones) if len(config.factors) == 1 else 1)
    done = at.warmup + at.step
    reached = zip(config.milestones, factors, strict=True)
    return math.prod(factor for epoch, factor in reached if done >= round(epoch * at.per_epoch))


def plateau(config: Plateau, at: Place) -> float:
    """`factor` to the power of the number of plateaus in `history` (PyTorch's ReduceLROnPlateau, relative).

    An epoch not below best * (1 - min_delta), or NaN, is a bad one; after more than `patience` bad ones in a
    row the rate falls and the count starts anew.
    """
    falls, bad, best = 0, 0, math.inf
    for loss in at.history:
        if loss < best * (1 - config.min_delta):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > config.patience:
            falls, bad = falls + 1, 0
    return max(config.factor**falls, config.final)


SCHEDULES: dict[str, Callable[[Any, Place], float]] = {
    "constant": constant,
    "exponential": exponential,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "one_cycle": one_cycle,
    "triangular": triangular,
    "step": multi_step,
    "step_epochs": step_epochs,
    "plateau": plateau,
}


def multiplier(
    config: Schedule, step: int, steps_per_epoch: int, total_steps: int, history: Sequence[float]
) -> float:
    """The factor in [0, 1] of the peak learning rate for update `step`, 0 <= step < total_steps.

    history: the watched loss of each finished epoch, oldest first; only plateau reads it, and only the epochs
    that began after the warm-up. During `warmup_epochs` the factor rises in equal steps, from one step above 0
    to the schedule's first value: no update is wasted on a rate of 0.
    """
    schedule = SCHEDULES[config.name]
    warmup = round(config.warmup_epochs * steps_per_epoch)
    rest = max(1, total_steps - warmup)
    if step < warmup:
        first = Place(0, rest, warmup, steps_per_epoch, ())
        return schedule(config, first) * (step + 1) / (warmup + 1)
    seen = history[math.ceil(config.warmup_epochs) :]
    return schedule(config, Place(step - warmup, rest, warmup, steps_per_epoch, seen))


def watched(config: Schedule, reports: Sequence[EpochReport]) -> list[float]:
    """The loss of each epoch that plateau looks at: of the validation, or of the training where there is none.

    `monitor: train` takes the training loss always.
    """
    train = isinstance(config, Plateau) and config.monitor == "train"
    return [r.train_loss if train or r.valid_loss is None else r.valid_loss for r in reports]


def _cycle_lengths(config: Schedule) -> Iterator[int]:
    """Epochs of the first cycle, the second and so on, without end; nothing where there are no cycles."""
    if isinstance(config, CosineRestarts):
        length, growth = config.first, config.growth
    elif isinstance(config, Triangular):
        length, growth = config.cycle, 1
    else:
        return
    while True:
        yield length
        length *= growth


def cycle_ends(config: Schedule, epochs: int) -> tuple[int, ...]:
    """The epochs (counted from 1, at most `epochs`) at whose end a cycle has ended: where to take a snapshot.

    Only cosine_restarts and triangular have cycles. Where a warm-up of broken epochs puts a cycle's end inside
    an epoch, it is the epoch before: afterwards the rate is high again.
    """
    ends, end = [], config.warmup_epochs
    for length in _cycle_lengths(config):
        end += length
        if end > epochs:
            break
        ends.append(math.floor(end))
    return tuple(ends)


def snapshot_epochs(schedule: Schedule, train: Train) -> tuple[int, ...]:
    """The epochs (from 1) whose weights are kept beside the last ones: ends of cycles before the end of training."""
    ends = cycle_ends(schedule, train.epochs) if train.snapshots else ()
    return tuple(epoch for epoch in ends if epoch < train.epochs)
