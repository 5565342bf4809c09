"""Rows that nothing trains on or validates on (`cv.untouched`): what is left for one last judgement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tune_digits.config import Cv
from tune_digits.data.dataset import Labelled, Task
from tune_digits.data.folds.split import column_of, make_folds
from tune_digits.errors import DataError


def set_aside(task: Task, cv: Cv) -> Task:
    """The task with the rows of `cv.untouched` taken out of its training rows, as `task.untouched`.

    A fraction is drawn as a holdout is: by `cv.seed`, evenly by class, in whole groups where there are groups. Rows of
    extra sets that join the training are never drawn. Raises DataError where that cannot be, and for a group that is
    not there.
    """
    if cv.untouched is None:
        return task
    train = task.train
    own = len(train) - sum(task.joined.values())
    if isinstance(cv.untouched, float):
        rows = _drawn(train.take(np.arange(own)), cv, cv.untouched)
    else:
        rows = _named(train, str(cv.groups), cv.untouched)
        rows = rows[rows < own]
    left = np.setdiff1d(np.arange(len(train)), rows)
    if len(rows) == 0 or len(left) == 0:
        raise DataError(
            f"cv.untouched sets {len(rows):,} of {len(train):,} rows aside; leave rows on both sides."
        )
    return replace(task, train=train.take(left), untouched=train.take(rows))


def _drawn(train: Labelled, cv: Cv, fraction: float) -> np.ndarray:
    once = cv.model_copy(update={"holdout": fraction, "repeats": 1, "fold_column": None})
    try:
        (fold,) = make_folds(train.labels, train.groups, once, train.targets)
    except DataError as error:  # what it says of a holdout is true of these rows
        raise DataError(str(error).replace("cv.holdout", "cv.untouched")) from None
    return fold.valid_idx


def _named(train: Labelled, column: str, names: tuple[str, ...]) -> np.ndarray:
    values = column_of(train.columns, column, "cv.groups")
    if unknown := sorted(set(names) - set(values.tolist())):
        there = np.unique(values)
        more = " .." if len(there) > 10 else ""
        raise DataError(
            f"cv.untouched names {', '.join(map(repr, unknown))}, which the column {column!r} does not have. It has: "
            f"{', '.join(there[:10].tolist())}{more}"
        )
    return np.flatnonzero(np.isin(values, names))
