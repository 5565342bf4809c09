"""The report of an epoch, and what a history of reports says: over, diverged, stopped early, which epoch is kept.

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
    valid_loss         mean over the validation samples of the loss that train.valid_loss names: cross-entropy, or
                       the loss that is trained; None without validation
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
    """Whether none of the last `train.early_stopping` epochs was better, with epochs left and a finite loss.

    What is compared is the validation score or the validation loss, as train.early_stopping_on says.
    """
    best = best_epoch(history, train.early_stopping_on)
    if train.early_stopping == 0 or best is None or diverged(history) or len(history) >= train.epochs:
        return False
    return history[-1].epoch - best.epoch >= train.early_stopping


def kept_epoch(history: Sequence[EpochReport], train: Train) -> EpochReport:
    """The epoch whose weights a training with these reports is left with: the last or the best, as train.keep says.

    The last one where nothing was validated. history has one report at least.
    """
    best = None if train.keep == "last" else best_epoch(history, train.keep.removeprefix("best_"))
    return history[-1] if best is None else best


def best_epoch(history: Sequence[EpochReport], watched: str) -> EpochReport | None:
    """The first of the epochs with the largest `score`, or the least validation `loss`, as `watched` says.

    Epochs without validation, or with a loss that is no finite number, do not count; None where no epoch counts.
    """
    judged: list[tuple[float, EpochReport]] = []
    for report in history:
        value = report.score if watched == "score" else report.valid_loss
        if value is not None and math.isfinite(value) and math.isfinite(report.train_loss):
            judged.append((value if watched == "score" else -value, report))
    return max(judged, key=lambda pair: pair[0])[1] if judged else None
