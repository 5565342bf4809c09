"""What a training says after each epoch. Apart from the rest, since the driver of a search needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tune_digits.config.train import Train


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One finished epoch. epoch counts from 1. Losses are means over samples; valid_loss is cross-entropy
    whatever the training loss, so that trials compare; without validation it and score are None.
    seconds and images_per_second are of the training part alone, valid_seconds of the validation.
    """

    epoch: int
    train_loss: float
    valid_loss: float | None
    score: float | None
    lr: float
    seconds: float
    valid_seconds: float
    images_per_second: float


def is_over(history: Sequence[EpochReport], train: Train) -> bool:
    """Whether a training with these epochs behind it has ended, by its last epoch or by its own rule."""
    return len(history) >= train.epochs or diverged(history) or stopped_early(history, train)


def diverged(history: Sequence[EpochReport]) -> bool:
    """Whether the loss of the last epoch is no longer finite."""
    return bool(history) and not math.isfinite(history[-1].train_loss)


def stopped_early(history: Sequence[EpochReport], train: Train) -> bool:
    """Whether the last `train.early_stopping` epochs brought no better validation score; 0 = never."""
    scores = [r.score for r in history if r.score is not None]
    if not scores or train.early_stopping == 0:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= train.early_stopping
