"""The score of a winner, corrected for its having been chosen because it looked best.

Shape letters: C configurations, N validated rows, U units (groups, or rows), B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq


@dataclass(frozen=True, slots=True)
class Shrunk:
    """means: float64 (C,), each drawn towards the centre by how much of the spread is noise; errors: float64 (C,), their
    standard errors; spread: standard deviation of the true means (estimated)."""

    means: np.ndarray
    errors: np.ndarray
    centre: float
    spread: float


def shrunk(means: np.ndarray, errors: np.ndarray) -> Shrunk:
    """Empirical-Bayes estimates of the true means of C candidates.

    means, errors: float64 (C,), each candidate's mean and its standard error, without what is common to all. The
    variance of the true means is Paule and Mandel's (1982): that with which the weighted squares of the deviations sum
    to C - 1; 0 where they are less even without it. A candidate keeps spread² / (spread² + error²) of its distance to
    the weighted mean. All errors 0: the means as they are.

    >>> shrunk(np.array([0.98, 0.99]), np.array([0.02, 0.02])).means
    array([0.985, 0.985])
    """
    count, variances = len(means), errors**2

    def centre_of(spread: float) -> float:
        return float(np.average(means, weights=1 / (variances + spread)))

    def excess(spread: float) -> float:
        return float(np.sum((means - centre_of(spread)) ** 2 / (variances + spread))) - (count - 1)

    largest = float(np.ptp(means)) ** 2 * count
    if count < 2 or largest == 0 or not variances.any():
        return Shrunk(means.copy(), errors.copy(), float(means.mean()), float(np.std(means)))
    tiny = 1e-9 * largest
    spread = float(brentq(excess, tiny, largest)) if excess(tiny) > 0 else 0.0
    centre = centre_of(max(spread, tiny))
    kept = spread / (spread + variances) if spread > 0 else np.zeros(count)
    # the centre is estimated, too
    centre_variance = 1 / np.sum(1 / (variances + max(spread, tiny)))
    remaining = kept * variances + (1 - kept) ** 2 * centre_variance
    return Shrunk(centre + kept * (means - centre), np.sqrt(remaining), centre, float(np.sqrt(spread)))


@dataclass(frozen=True, slots=True)
class Corrected:
    """naive: the winner's own score; score: corrected, with a 95 % interval; winner: its place among the candidates."""

    naive: float
    score: float
    low: float
    high: float
    winner: int


def bootstrap_corrected(
    contributions: np.ndarray,
    weights: np.ndarray,
    groups: np.ndarray | None,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> Corrected:
    """BBC-CV: bootstrap the choice over out-of-fold predictions (Tsamardinos et al. 2018, Machine Learning 107).

    contributions: float64 (C, N), what each row adds to each configuration's score, the mean over its seeds; weights:
    float64 (N,), what it could add at most; groups: int64 (N,), None = each row for itself. In each resample of the
    units the configuration with the best score in it is chosen and scored on the units that are not in it. score: the
    mean of these; low, high: their percentiles. Knows the noise of images, not that of trainings.
    """
    if groups is None:
        sums, sizes = contributions, weights
    else:
        _, inverse = np.unique(groups, return_inverse=True)
        sums = np.stack([np.bincount(inverse, own) for own in contributions])
        sizes = np.bincount(inverse, weights)
    scores = sums.sum(1) / sizes.sum()
    units = len(sizes)
    found = np.empty(resamples)
    for i in range(resamples):
        counts = np.bincount(rng.integers(0, units, units), minlength=units)
        chosen = int(np.argmax(sums @ counts))
        outside = counts == 0
        found[i] = sums[chosen, outside].sum() / sizes[outside].sum()
    low, high = np.quantile(found, [0.025, 0.975])
    winner = int(np.argmax(scores))
    return Corrected(float(scores[winner]), float(found.mean()), float(low), float(high), winner)
