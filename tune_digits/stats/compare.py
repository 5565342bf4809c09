"""Is one configuration better than another? Paired image by image, with the noise of trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from tune_digits.stats.noise import Noise
from tune_digits.stats.outcomes import Training, row_covariance, tabulate

Verdict = Literal["better", "worse", "cannot tell"]
LEVEL = 0.05  # of the two-sided test; the interval has 1 - LEVEL
POWERFUL = 1.959964 + 0.841621  # standard errors that a difference must measure to be told in 80 % of cases
MANY_TRAININGS = 1000  # more of them are no advice
FEW = 16  # units that differ, up to which all their signs are tried: 2 ** 16 sums


@dataclass(frozen=True, slots=True)
class Comparison:
    """a minus b. difference, standard_error, low and high (a 95 % interval) are in the score's unit, 0.01 = one point.

    p: of the two-sided test that there is no difference. more_trainings: how many more trainings of each of the two, in
    the same folds with new seeds, would tell a difference of the size seen with 80 % power; a whole number, 0 where it
    is told, math.inf where no number would do because the images are too few. trainings: pairs compared.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p: float
    verdict: Verdict
    more_trainings: float
    trainings: int


def compare(
    a: Sequence[Training], b: Sequence[Training], groups: np.ndarray | None, noise: Noise
) -> Comparison:
    """Compare two configurations by the trainings that both have (same fold and seed), each pair with equal weight.

    groups: int64 (rows of the training set,), None = rows are independent. noise: of all trainings that are to hand
    (`training_noise`). Two variances are added, and tested by Student's t with Satterthwaite's degrees of freedom. The
    images: the cluster-robust variance of the differences by unit (a group, or a row). The trainings: 2 · variance /
    pairs, with the degrees of freedom of the noise's `total`, since a variance that few trainings put at 0 is no
    certainty. Where at most 16 units differ, p is not below that of the exact test over all their signs (for single
    rows with one seed this is McNemar's exact test), and the interval holds 0 where that p says so.

    Raises ValueError where the two share no fold and seed, or a fold's trainings validated other rows.
    """
    own, other = ({(t.fold, t.seed): t for t in side} for side in (a, b))
    shared = sorted(own.keys() & other.keys())
    if not shared:
        raise ValueError("the two configurations share no fold and seed")
    pairs = len(shared)
    table = tabulate({0: [own[key] for key in shared], 1: [other[key] for key in shared]}, groups)
    weights = np.where(np.arange(2 * pairs) < pairs, 1 / pairs, -1 / pairs)
    difference = float(weights @ table.scores)
    covariance = row_covariance(table)
    # one image more that differs: none seen is no proof that there is none
    least = max(1 / len(own[key].rows) for key in shared) / len(table.by_fold)
    rows = float(weights @ covariance @ weights) + least**2
    error = math.sqrt(rows + 2 * noise.variance / pairs)
    more = _more_trainings(difference, rows, noise, pairs)
    if noise.freedom == 0:
        return Comparison(difference, error, -math.inf, math.inf, 1.0, "cannot tell", max(more, 1.0), pairs)
    units = _freedom([fold.centred() @ weights[fold.columns] for fold in table.by_fold])
    trained = 2 * noise.total / pairs
    freedom = error**4 / (rows**2 / units + trained**2 / noise.freedom)
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * error
    p = float(2 * stdtr(freedom, -abs(difference) / error))
    exact = _exact_p([fold.sums @ weights[fold.columns] for fold in table.by_fold])
    if exact > p:
        p = exact
        half = max(half, abs(difference)) if p >= LEVEL else half
    verdict: Verdict = "cannot tell" if p >= LEVEL else "better" if difference > 0 else "worse"
    return Comparison(
        difference,
        error,
        difference - half,
        difference + half,
        p,
        verdict,
        max(more, 1.0) if verdict == "cannot tell" else 0.0,
        pairs,
    )


def paired_t(differences: np.ndarray) -> Comparison:
    """Student's paired t-test over trainings. differences: float64 (k,), of the scores by fold and seed, k >= 1.

    For metrics that are no sum over images, and to compare with. It knows nothing of images, and with three folds it
    estimates the error with two degrees of freedom.
    """
    pairs = len(differences)
    difference = float(np.mean(differences))
    if pairs < 2:
        return Comparison(difference, math.nan, -math.inf, math.inf, 1.0, "cannot tell", 1.0, pairs)
    error = float(np.std(differences, ddof=1)) / math.sqrt(pairs)
    half = float(stdtrit(pairs - 1, 1 - LEVEL / 2)) * error
    p = float(2 * stdtr(pairs - 1, -abs(difference) / error)) if error > 0 else float(difference == 0)
    verdict: Verdict = "cannot tell" if p >= LEVEL else "better" if difference > 0 else "worse"
    more = 0.0
    if verdict == "cannot tell":
        more = (
            math.inf if difference == 0 else math.ceil((POWERFUL * error / difference) ** 2 * pairs) - pairs
        )
        more = max(more, 1.0)
    return Comparison(difference, error, difference - half, difference + half, p, verdict, more, pairs)


def _freedom(by_fold: Sequence[np.ndarray]) -> float:
    """Satterthwaite's degrees of freedom of a sum over folds of variances over units; centred differences (U,) each."""
    variances = [(float(d @ d), len(d) - 1) for d in by_fold if len(d) > 1]
    square = sum(v**2 / units for v, units in variances)
    if square == 0:
        return float(max(sum(units for _, units in variances), 1))
    return sum(v for v, _ in variances) ** 2 / square


def _exact_p(by_fold: Sequence[np.ndarray]) -> float:
    """Two-sided p of the sum of the units' differences, their signs being chance; 0 where more than FEW differ."""
    differing = np.concatenate(by_fold)
    differing = differing[np.abs(differing) > 1e-12]
    if len(differing) > FEW:
        return 0.0
    sums = np.zeros(1)
    for value in differing:
        sums = np.concatenate([sums + value, sums - value])
    return float(np.mean(np.abs(sums) >= abs(differing.sum()) - 1e-12))


def _more_trainings(difference: float, rows: float, noise: Noise, pairs: int) -> float:
    """Trainings until the standard error is a 2.8th of the difference; math.inf where it never will be."""
    goal = (difference / POWERFUL) ** 2 - (1 - noise.flips) * rows
    if goal <= 0:
        return math.inf
    return float(max(math.ceil((noise.flips * rows * pairs + 2 * noise.variance) / goal) - pairs, 0))
