"""Whether a loss fits the data that are to be learnt. Needs no torch: the process that drives a search checks it."""

from __future__ import annotations

from tune_digits.config.loss import Loss
from tune_digits.errors import ConfigError


def check_heads(config: Loss, heads: tuple[slice, ...]) -> None:
    """Raise ConfigError unless head_weights and given_weights are as many as the data's targets and classes.

    heads: the class columns of each target.
    """
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
