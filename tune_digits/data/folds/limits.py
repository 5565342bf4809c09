"""Folds with fewer rows: a subset to train on, and a limit to what is validated. N samples, T targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tune_digits.data.folds.split import Fold
from tune_digits.data.folds.subset import subset_rows
from tune_digits.errors import DataError

# epochs of a search validate a tenth of the rows that they train on, which takes 3 to 5 % of an epoch's time, or this
# many where that is more
WATCHED = 1000


def limit_folds(
    folds: Sequence[Fold], labels: np.ndarray, rows: np.ndarray | None, valid_rows: int | None, seed: int
) -> tuple[Fold, ...]:
    """The folds, trained on those of their training rows that are among `rows` (int64 (n,); None = all), and validated
    on at most `valid_rows` of their validation rows, drawn evenly by class (None = all).

    labels: int64 (N, T), of all rows. Raises DataError where a fold is left without a class to train on.
    """
    limited = []
    for fold in folds:
        train, valid = fold.train_idx, fold.valid_idx
        if rows is not None:
            train = np.intersect1d(train, rows)
            for target, column in enumerate(labels.T):
                absent = np.setdiff1d(column[fold.train_idx], column[train])
                if len(absent):
                    raise DataError(
                        f"data.subset: of {len(rows):,} rows, {len(train):,} are left to train fold {fold.index} on, "
                        f"and none of them has class number {absent[0]} of target {target}. Take a larger subset"
                    )
        limited.append(replace(fold, train_idx=train, valid_idx=at_most(valid, labels, valid_rows, seed)))
    return tuple(limited)


def watched_rows(fold: Fold, labels: np.ndarray, seed: int) -> np.ndarray:
    """The validation rows that each epoch of a trial is scored on, drawn evenly by class: int64 (m,), sorted."""
    return at_most(fold.valid_idx, labels, max(WATCHED, len(fold.train_idx) // 10), seed)


def at_most(rows: np.ndarray, labels: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """`rows` int64 (n,), or `most` of them, drawn evenly by class. labels: int64 (N, T), of all rows."""
    if most is None or len(rows) <= most:
        return rows
    drawn: np.ndarray = rows[subset_rows(labels[rows], None, most, seed)]
    return drawn
