"""How much the score of a training varies from one training to the next by itself (order of batches, initial weights).

A training's shift is common to all images of its fold, so no number of images averages it out. Three folds of one
configuration estimate it with two degrees of freedom; all trainings of a leaderboard together with many more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tune_digits.stats.outcomes import Outcomes, Table, row_covariance, tabulate


@dataclass(frozen=True, slots=True)
class Noise:
    """Variance of training shifts, in squared units of the score.

    total: mean square of the residuals, per training, after the effects of configuration and of fold and seed are
    removed; rows: as much of it as the choice of images explains; freedom: the degrees of freedom (Satterthwaite) of
    `total`, 0 where nothing can be estimated.

    flips: the fraction of the rows' variance of a difference that further seeds average out, in [0, 1].
    """

    total: float
    rows: float
    freedom: float
    flips: float

    @property
    def variance(self) -> float:
        """The variance of a training's shift, by the method of moments; not below 0."""
        return max(self.total - self.rows, 0.0)


def training_noise(outcomes: Outcomes, groups: np.ndarray | None = None) -> Noise:
    """The noise of trainings, pooled over all configurations, whose noise is taken to be equal.

    outcomes: configuration -> its trainings; not all need to have the same folds and seeds. groups: int64 (rows of the
    training set,). What trainings of one fold and seed share is removed, so that configurations trained with common
    random numbers are judged by what remains. Raises ValueError where trainings of a fold validated other rows.
    """
    table = tabulate(outcomes, groups)
    covariance = row_covariance(table)
    remaining = _residual_maker(table)
    freedom = float(remaining.trace())
    flips = _flips(table, covariance, outcomes, groups)
    if freedom < 0.5:
        return Noise(0.0, 0.0, 0.0, flips)
    total = float(table.scores @ remaining @ table.scores) / freedom
    rows = float(np.sum(remaining * covariance)) / freedom
    # the rows' part as equal within a fold: the covariance of few units itself is too rough for degrees of freedom
    by_rows = np.einsum("ij,jk,ki->i", remaining, covariance, remaining)
    for fold in table.by_fold:
        by_rows[fold.columns] = by_rows[fold.columns].mean()
    spread = remaining * (by_rows + max(total - rows, 0.0))
    square = float(np.sum(spread * spread.T))
    satterthwaite = float(spread.trace()) ** 2 / square if square > 0 else freedom
    return Noise(total, rows, satterthwaite, flips)


def _residual_maker(table: Table) -> np.ndarray:
    """The projection (T, T) that removes the effects of the configurations and of each fold and seed."""
    cells = list(zip(table.folds.tolist(), table.seeds.tolist(), strict=True))
    columns = [[own == name for own in table.configurations] for name in dict.fromkeys(table.configurations)]
    columns += [[own == cell for own in cells] for cell in dict.fromkeys(cells)]
    design = np.array(columns, np.float64).T
    return np.asarray(np.eye(len(design)) - design @ np.linalg.pinv(design))


def _flips(table: Table, covariance: np.ndarray, outcomes: Outcomes, groups: np.ndarray | None) -> float:
    """How much of what images add to a difference of two configurations is also there between two seeds of one.

    Where no configuration has two seeds in one fold, what single rows add is taken for it, and what whole groups add
    beyond that is not.
    """
    seeds, others = _row_variances(table, covariance)
    if not others or np.mean(others) == 0:
        return 1.0
    if not seeds:
        if groups is None:
            return 1.0
        alone = tabulate(outcomes, None)
        seeds = _row_variances(alone, row_covariance(alone))[1]
    return min(float(np.mean(seeds) / np.mean(others)), 1.0)


def _row_variances(table: Table, covariance: np.ndarray) -> tuple[list[float], list[float]]:
    """Variance by rows of the differences of two seeds of one configuration, and of two configurations, in one fold."""
    seeds, others = [], []
    for fold in table.by_fold:
        for i, j in combinations(fold.columns.tolist(), 2):
            variance = float(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
            if table.configurations[i] == table.configurations[j]:
                seeds.append(variance)
            elif table.seeds[i] == table.seeds[j]:
                others.append(variance)
    return seeds, others
