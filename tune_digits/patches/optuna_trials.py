"""A trial of an Optuna study taken up again by its number, for which Optuna has no public way.

Without this, an interrupted trial could only be proposed anew under another number, and the study would keep the old
one as running for ever. Nothing else can stand in for it, so `TUNE_DIGITS_PATCHES=off` does not switch it off.
"""

from __future__ import annotations

import optuna


def trial_again(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
    """The trial of `study` that `frozen` is a picture of: it can be reported to, and told its end by number."""
    return optuna.Trial(study, frozen._trial_id)
