"""What a training says after each epoch. Apart from the rest, since the driver of a search needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


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
