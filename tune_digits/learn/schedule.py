"""Learning-rate schedules as pure functions: step -> factor of the peak learning rate.

Nothing is remembered between calls, so a training that is resumed needs no schedule state. Steps count weight updates
from 0, those included that a float16 training leaves out. A schedule runs over the steps after the warm-up: its first
value is that of the first of them, its last value that of the last update of the training.
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
class Position:
    """Where in the schedule an update is.

    step, steps  the number of the update (from 0) and how many there are, both without the warm-up's. A rate that
                 changes less often than at every update is computed where it changes: step is the last such update
                 until now, and the last one of the training is steps - 1
    warmup       updates of the warm-up
    per_epoch    updates in an epoch
    history      the watched losses of the finished epochs after the warm-up, oldest first
    peak         the peak learning rate
    """

    step: int
    steps: int
    warmup: int
    per_epoch: int
    history: Sequence[float]
    peak: float = 1.0

    @property
    def epoch(self) -> float:
        """Epochs since the warm-up."""
        return self.step / self.per_epoch

    def since_warmup(self, unit: str) -> float:
        """Epochs or updates since the warm-up, as `unit` says."""
        return self.epoch if unit == "epochs" else self.step


def _along_cosine(start: float, end: float, fraction: float) -> float:
    """From start to end along half a cosine, for a fraction of the way in 0..1."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def constant(config: Constant, at: Position) -> float:
    """Always 1."""
    return 1.0


def exponential(config: Exponential, at: Position) -> float:
    """`factor` to the power of the epochs (PyTorch's ExponentialLR, with change_every: epoch)."""
    factor: float = config.factor**at.epoch
    return factor


def cosine(config: Cosine, at: Position) -> float:
    """From 1 to `final` along half a cosine (arXiv:1608.03983 without its restarts)."""
    return _along_cosine(1.0, config.final, at.step / max(1, at.steps - 1))


def cosine_restarts(config: CosineRestarts, at: Position) -> float:
    """From 1 towards `final` in every cycle (PyTorch's CosineAnnealingWarmRestarts, stepped at each change)."""
    now = at.since_warmup(config.unit)
    start, length = 0, config.first
    while now >= start + length:
        start, length = start + length, length * config.growth
    return _along_cosine(1.0, config.final, (now - start) / length)


def one_cycle(config: OneCycle, at: Position) -> float:
    """Up from `start` to 1, then down to `final` (arXiv:1708.07120; PyTorch's OneCycleLR in two phases)."""
    # where PyTorch has the peak, but not before the first step: in a training of very few steps the rate only falls
    peak = max(0.0, config.peak_at * at.steps - 1)
    if at.step < peak:
        return _along_cosine(config.start, 1.0, at.step / peak)
    fall = at.steps - 1 - peak
    return _along_cosine(1.0, config.final, (at.step - peak) / fall if fall > 0 else 0.0)


def triangular(config: Triangular, at: Position) -> float:
    """Straight up from `low` and down again in every cycle, each `shrink` times as high (PyTorch's CyclicLR)."""
    cycle, done = divmod(at.since_warmup(config.unit) / config.cycle, 1.0)
    height = done / config.peak_at if done <= config.peak_at else (1 - done) / (1 - config.peak_at)
    peak: float = config.shrink**cycle
    return config.low + (1 - config.low) * peak * height


def multi_step(config: Step, at: Position) -> float:
    """`factor` to the power of the number of milestones reached (PyTorch's MultiStepLR)."""
    reached = sum(at.step >= round(fraction * at.steps) for fraction in config.milestones)
    factor: float = config.factor**reached
    return factor


def step_epochs(config: StepEpochs, at: Position) -> float:
    """The product of the factors of the milestones reached, in epochs of the whole training."""
    factors = config.factors * (len(config.milestones) if len(config.factors) == 1 else 1)
    done = at.warmup + at.step
    reached = zip(config.milestones, factors, strict=True)
    return math.prod(factor for epoch, factor in reached if done >= round(epoch * at.per_epoch))


def plateau(config: Plateau, at: Position) -> float:
    """`factor` to the power of the number of plateaus in `history` (ReduceLROnPlateau of PyTorch or Keras).

    torch: an epoch whose loss is not below best * (1 - min_delta), or NaN, is a bad one, and after more than `patience`
    bad ones in a row the rate falls. keras: it is a bad one if not below best - min_delta, and the rate falls after
    `patience` of them, after one if patience is 0. Then the count starts anew; the best loss stays.
    """
    keras = config.arithmetic == "keras"
    tolerated = max(config.patience, 1) - 1 if keras else config.patience
    falls, bad, best = 0, 0, math.inf
    for loss in at.history:
        if loss < (best - config.min_delta if keras else best * (1 - config.min_delta)):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > tolerated:
            falls, bad = falls + 1, 0
    return max(config.factor**falls, config.final, config.min_lr / at.peak)


SCHEDULES: dict[str, Callable[[Any, Position], float]] = {
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
    config: Schedule,
    step: int,
    steps_per_epoch: int,
    total_steps: int,
    history: Sequence[float],
    peak: float = 1.0,
) -> float:
    """The factor in [0, 1] of the peak learning rate for update `step`, 0 <= step < total_steps.

    history: the watched loss of each finished epoch, oldest first; only plateau reads it, and only the epochs
    that began after the warm-up. During `warmup_epochs` the factor rises in equal steps, from one step above 0
    to the schedule's first value: no update is wasted on a rate of 0. peak: the peak learning rate, at least
    plateau's min_lr; nothing else reads it.

    >>> from tune_digits.config.schedule import Cosine
    >>> [round(multiplier(Cosine(), step, 5, 5, []), 2) for step in range(5)]
    [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    schedule = SCHEDULES[config.name]
    warmup = round(config.warmup_epochs * steps_per_epoch)
    rest = max(1, total_steps - warmup)
    every = getattr(config, "change_every", 1)
    period = steps_per_epoch if every == "epoch" else every
    changes = (rest - 1) // period * period + 1  # up to the last change of the rate
    if step < warmup:
        first = Position(0, changes, warmup, steps_per_epoch, (), peak)
        return schedule(config, first) * (step + 1) / (warmup + 1)
    seen = history[math.ceil(config.warmup_epochs) :]
    last = (step - warmup) // period * period
    return schedule(config, Position(last, changes, warmup, steps_per_epoch, seen, peak))


def watched(config: Schedule, reports: Sequence[EpochReport]) -> list[float]:
    """The loss of each epoch that plateau watches: the validation loss, or the training loss without validation.

    With `monitor: train` it is always the training loss. A training on all rows, and a fold of the confirmation with
    train.keep: last, have no validation.
    """
    train = isinstance(config, Plateau) and config.monitor == "train"
    return [r.train_loss if train or r.valid_loss is None else r.valid_loss for r in reports]


def _cycle_lengths(config: Schedule) -> Iterator[int]:
    """Epochs of the first cycle, the second and so on, without end; nothing for a schedule without cycles."""
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

    Only cosine_restarts and triangular have cycles, here with `unit: epochs`. Where a cycle ends within an epoch,
    because the warm-up is not a whole number of epochs, the epoch before is meant: afterwards the rate is high again.
    """
    ends, end = [], config.warmup_epochs
    for length in _cycle_lengths(config):
        end += length
        if end > epochs:
            break
        ends.append(math.floor(end))
    return tuple(ends)


def snapshot_epochs(schedule: Schedule, train: Train) -> tuple[int, ...]:
    """The epochs (from 1) at whose end a snapshot is kept: the ends of cycles before the end of the training."""
    ends = cycle_ends(schedule, train.epochs) if train.snapshots else ()
    return tuple(epoch for epoch in ends if epoch < train.epochs)


def ends_within_cycle(schedule: Schedule, train: Train) -> bool:
    """Whether a training with snapshots ends after its last complete cycle, where the learning rate is high again.

    False where no cycle is complete: then there are no other weights.
    """
    ends = cycle_ends(schedule, train.epochs) if train.snapshots else ()
    return bool(ends) and ends[-1] < train.epochs
