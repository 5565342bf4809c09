"""The score of a winner, corrected for its having been chosen because it looked best.

Shape letters: C configurations, N validated rows, U units (groups, or rows), B resamples.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from tune_digits.stats.noise import Noise
from tune_digits.stats.outcomes import Outcomes, row_covariance, tabulate

Name = TypeVar("Name", bound=Hashable)
CONTENTION = 3.0  # standard errors of a difference


@dataclass(frozen=True, slots=True)
class Shrunk:
    """means: float64 (C,), each drawn towards the centre by how much of the spread is noise; errors: float64 (C,),
    their standard errors; spread: standard deviation of the true means (estimated)."""

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
    # the centre is estimated, too, and so is the spread (Morris 1983)
    centre_variance = 1 / np.sum(1 / (variances + max(spread, tiny)))
    drawn_in = ((1 - kept) * (means - centre)) ** 2
    remaining = kept * variances + (1 - kept) ** 2 * centre_variance + 2 / (count - 1) * drawn_in
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


@dataclass(frozen=True, slots=True)
class Candidates:
    """The configurations side by side. names: as in the outcomes (C,); means: float64 (C,), their scores; errors:
    float64 (C,), the standard errors of what each has for itself, by images and by trainings.

    common_error: of what all share, by which images judged them; freedom: the degrees of freedom of that.
    """

    names: list[Hashable]
    means: np.ndarray
    errors: np.ndarray
    common_error: float
    freedom: float


def adjusted_means(scores: Mapping[Name, Mapping[tuple[int, int], float]]) -> dict[Name, float]:
    """Mean score of each configuration, its scores given by fold and seed, as if all had been trained on all of them.

    The effects of fold and seed are removed by least squares; where nothing is missing these are the plain means. A
    configuration that shares no fold and seed with others, directly or through others, is compared by chance alone.

    >>> adjusted_means({"a": {(0, 0): 0.8, (1, 0): 0.6}, "b": {(0, 0): 0.9}})
    {'a': 0.7, 'b': 0.8}
    """
    flat = [(name, cell, score) for name, own in scores.items() for cell, score in own.items()]
    names = list(dict.fromkeys(name for name, _, _ in flat))
    fit = _fit([name for name, _, _ in flat], [cell for _, cell, _ in flat])
    values = fit @ np.array([score for _, _, score in flat])
    return dict(zip(names, np.round(values, 12).tolist(), strict=True))


def _fit(configurations: Sequence[Hashable], cells: Sequence[tuple[int, int]]) -> np.ndarray:
    """The matrix (C, T) that makes adjusted means of scores; configurations in the order in which they first occur."""
    names = list(dict.fromkeys(configurations))
    own = np.array([[c == name for name in names] for c in configurations], np.float64)
    where = np.array([[c == cell for cell in dict.fromkeys(cells)] for c in cells], np.float64)
    return np.asarray(np.linalg.pinv(np.hstack([own, where - 1 / where.shape[1]]))[: len(names)])


def candidates(outcomes: Outcomes, groups: np.ndarray | None, noise: Noise) -> Candidates:
    """Means that can be compared, as `adjusted_means` makes them."""
    table = tabulate(outcomes, groups)
    names = list(dict.fromkeys(table.configurations))
    fit = _fit(table.configurations, list(zip(table.folds.tolist(), table.seeds.tolist(), strict=True)))
    count = len(names)
    rows = fit @ row_covariance(table) @ fit.T
    centring = np.eye(count) - 1 / count
    apart = np.diag(centring @ (rows + noise.variance * fit @ fit.T) @ centring) * count / max(count - 1, 1)
    if count == 1:
        apart = noise.variance * np.diag(fit @ fit.T)
    units = sum(len(fold.units) - 1 for fold in table.by_fold)
    common = float(np.sqrt(max(rows.mean(), 0.0)))
    return Candidates(
        names, fit @ table.scores, np.sqrt(np.maximum(apart, 0.0)), common, float(max(units, 1))
    )


def corrected_score(
    outcomes: Outcomes, groups: np.ndarray | None, noise: Noise, of: Hashable | None = None
) -> Corrected:
    """The score of a configuration if it were trained anew and judged on other images, with a 95 % interval.

    of: which one; None = the best, the winner, whose place the result then has. The winner's mean, shrunk among those
    in contention: a candidate that is behind by more than three standard errors of the difference is no rival, and
    one that failed would make the spread of the true means look large. The interval: of what all share and of what
    remains of the winner's own error, by Student's t on the logarithm of the error rate, which varies upwards more
    than downwards. docs/trust.md has its bias and coverage, beside those of `bootstrap_corrected`.
    """
    table = candidates(outcomes, groups, noise)
    best = int(np.argmax(table.means))
    winner = best if of is None else table.names.index(of)
    apart = np.hypot(table.errors, table.errors[best])
    rivals = table.means >= table.means[best] - CONTENTION * apart
    rivals[winner] = True
    better = shrunk(table.means[rivals], table.errors[rivals])
    place = int(rivals[:winner].sum())
    score = float(better.means[place])
    half = float(stdtrit(table.freedom, 0.975)) * float(np.hypot(table.common_error, better.errors[place]))
    wrong = max(1 - score, 1e-12)
    low, high = 1 - wrong * np.exp(half / wrong), 1 - wrong * np.exp(-half / wrong)
    return Corrected(float(table.means[winner]), score, float(max(low, 0.0)), float(high), winner)
