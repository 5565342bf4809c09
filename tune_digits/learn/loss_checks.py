"""Whether a loss fits the data that are to be learnt. Imports no torch: the driver of a search checks before it."""

from __future__ import annotations

from pathlib import Path

from tune_digits.config.loss import Loss
from tune_digits.errors import ConfigError
from tune_digits.learn.teacher import read_teacher


def check_loss(config: Loss, heads: tuple[slice, ...], samples: int, subset: int | None = None) -> None:
    """Raise ConfigError or DataError where a trial with this loss would meet weights or a teacher that do not fit.

    heads: the class columns of each target; samples: rows of the training data. subset: as in the study.
    """
    check_heads(config, heads)
    if config.teacher_weight > 0:
        if subset is not None:
            raise ConfigError(
                "trial.loss.teacher speaks of all training rows, data.subset takes some of them: leave one out"
            )
        read_teacher(Path(config.teacher), samples, heads)


def check_heads(config: Loss, heads: tuple[slice, ...]) -> None:
    """Raise ConfigError unless head_weights and given_weights are as many as the data's heads and classes."""
    classes = sum(h.stop - h.start for h in heads)
    for key, values, wanted, what in (
        ("head_weights", config.head_weights, len(heads), "target columns to predict"),
        ("given_weights", config.given_weights, classes, "classes, all target columns together"),
    ):
        if values and len(values) != wanted:
            raise ConfigError(
                f"trial.loss.{key}: {len(values)} weights, but the data have {wanted} {what}; "
                f"give {wanted}, or leave {key} out"
            )
