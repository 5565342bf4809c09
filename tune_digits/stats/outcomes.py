"""What trainings of several configurations did on the rows that judged them, and how much of that is due to the rows.

Shape letters: n validated rows of one training, T trainings (of all configurations), U units of one fold. A *unit* is
what is drawn independently: a group of rows (a writer) where rows have groups, otherwise a single row.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a configuration. rows: int64 (n,), the validated rows of the training set, each once.

    contributions: float64 (n,), what each of them adds to the training's score (`stats.contributions`).
    """

    fold: int
    seed: int
    rows: np.ndarray
    contributions: np.ndarray


# configuration (a trial's number, a name) -> its trainings
Outcomes = Mapping[Hashable, Sequence[Training]]


@dataclass(frozen=True, slots=True)
class FoldUnits:
    """The trainings of one fold. columns: int (t,), their places among all T; units: int64 (U,), ascending.

    sums: float64 (U, t), what each unit adds to each training's score; sizes: int64 (U,), rows of each unit.
    """

    columns: np.ndarray
    units: np.ndarray
    sums: np.ndarray
    sizes: np.ndarray

    def centred(self) -> np.ndarray:
        """`sums` less what as many average rows of the fold would add: float64 (U, t), 0 for a single unit."""
        mean = self.sums.sum(0) / self.sizes.sum()
        factor = len(self.units) / max(len(self.units) - 1, 1)
        return np.asarray((self.sums - self.sizes[:, None] * mean) * np.sqrt(factor))


@dataclass(frozen=True, slots=True)
class Table:
    """All trainings side by side. scores: float64 (T,); configurations, folds, seeds: what each training is, (T,)."""

    configurations: list[Hashable]
    folds: np.ndarray
    seeds: np.ndarray
    scores: np.ndarray
    by_fold: list[FoldUnits]


def tabulate(outcomes: Outcomes, groups: np.ndarray | None) -> Table:
    """The trainings as one table. groups: int64 (rows of the training set,), None = each row is a unit of its own.

    Raises ValueError where two trainings of one fold have validated other rows.
    """
    flat = [(name, training) for name, own in outcomes.items() for training in own]
    folds = np.array([t.fold for _, t in flat])
    by_fold = []
    for fold in np.unique(folds):
        columns = np.flatnonzero(folds == fold)
        first = flat[columns[0]][1].rows
        sorting = np.argsort(first, kind="stable")
        rows = first[sorting]
        values = np.empty((len(rows), len(columns)))
        for place, column in enumerate(columns):
            training = flat[column][1]
            if np.array_equal(training.rows, first):  # as a run has them
                values[:, place] = training.contributions[sorting]
                continue
            order = np.argsort(training.rows, kind="stable")
            if not np.array_equal(training.rows[order], rows):
                raise ValueError(f"two trainings of fold {fold} have validated other rows")
            values[:, place] = training.contributions[order]
        if groups is None:
            by_fold.append(FoldUnits(columns, rows, values, np.ones(len(rows), np.int64)))
            continue
        units, inverse, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
        sums = np.stack([np.bincount(inverse, own, len(units)) for own in values.T], axis=1)
        by_fold.append(FoldUnits(columns, units, sums, sizes))
    return Table(
        [name for name, _ in flat],
        folds,
        np.array([t.seed for _, t in flat]),
        np.array([t.contributions.sum() for _, t in flat]),
        by_fold,
    )


def row_covariance(table: Table) -> np.ndarray:
    """Covariance of the scores due to which units were drawn: float64 (T, T), the trained networks held fixed.

    Cluster-robust: the sum over units of products of centred sums. Folds that share units (repeated cross-validation)
    covary, too. A fold with a single unit says nothing about how units differ and counts as 0 here; such differences
    are then part of what varies from training to training (`training_noise`).
    """
    result = np.zeros((len(table.scores), len(table.scores)))
    centred = [fold.centred() for fold in table.by_fold]
    for i, (a, x) in enumerate(zip(table.by_fold, centred, strict=True)):
        result[np.ix_(a.columns, a.columns)] = x.T @ x
        for b, y in zip(table.by_fold[:i], centred[:i], strict=True):
            _, here, there = np.intersect1d(a.units, b.units, assume_unique=True, return_indices=True)
            if len(here):
                shared = x[here].T @ y[there]
                result[np.ix_(a.columns, b.columns)] = shared
                result[np.ix_(b.columns, a.columns)] = shared.T
    return result
