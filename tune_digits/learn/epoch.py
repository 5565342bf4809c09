"""The report of an epoch, and what a history of reports says: over, diverged, stopped early.

Needs no torch: the process that drives a search asks these questions too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tune_digits.config import Train


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One finished epoch.

    epoch              counts from 1
    train_loss         mean over the training samples, of what was minimised
    valid_loss         cross-entropy, mean over the validation samples, whatever the training loss, so that trials
                       compare; None without validation
    score              the study's metric on the validation samples, in [0, 1]; 0 where train_loss is not finite;
                       None without validation
    lr                 learning rate of the last update
    seconds            of the training alone
    valid_seconds      of the validation
    images_per_second  of the training alone
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
    """Whether a training with these reports, oldest first, has ended: after all its epochs, or before."""
    return len(history) >= train.epochs or diverged(history) or stopped_early(history, train)


def diverged(history: Sequence[EpochReport]) -> bool:
    """Whether the training loss of the last epoch is no finite number."""
    return bool(history) and not math.isfinite(history[-1].train_loss)


def stopped_early(history: Sequence[EpochReport], train: Train) -> bool:
    """Whether the last `train.early_stopping` epochs brought no better score, with epochs left and a finite loss."""
    scores = [report.score for report in history if report.score is not None]
    if train.early_stopping == 0 or not scores or diverged(history) or len(history) >= train.epochs:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= train.early_stopping
