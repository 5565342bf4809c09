"""Confirmation as a race: who is clearly behind leaves, and the trainings go to those that are still tied at the top.

All decisions follow from the results on record, so that a race that is resumed takes the same ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from tune_digits.runs import FoldResult
from tune_digits.stats.compare import Comparison, compare, paired_t
from tune_digits.stats.noise import training_noise
from tune_digits.stats.selection import adjusted_means
from tune_digits.tune.leaderboard import Judges

# two-sided p of the comparison with the best below which one leaves; docs/trust.md has what it costs
LEAVES = 0.1
# never on the trainings of one fold alone
AT_LEAST = 2


def cells(folds: Sequence[int], seeds: int) -> Iterator[tuple[int, int]]:
    """(fold, seed) of each round, without end: all folds with the first seed, then with the next. Beyond `seeds` too: a
    race whose budget is not used up goes on with more seeds than a whole confirmation has."""
    yield from ((fold, seed) for seed in range(seeds) for fold in folds)
    yield from ((fold, seed) for seed in count(seeds) for fold in folds)


def still_in(
    active: Sequence[int], results: Sequence[FoldResult], judges: Judges, baseline: int | None
) -> list[int]:
    """Those of the trials `active` that go on: the best, the baseline, and all that are not told to be worse than the
    best (p < 0.1, in two trainings or more).

    results: of all trials, those that have left included, since they tell the noise of a training.
    """
    best, compared = _standing(active, results, judges)
    return [
        trial
        for trial in active
        if trial in (best, baseline)
        or trial not in compared  # it failed everywhere that the best did not
        or not (compared[trial].p < LEAVES and compared[trial].difference > 0)
        or compared[trial].trainings < AT_LEAST
    ]


def is_decided(
    active: Sequence[int], results: Sequence[FoldResult], judges: Judges, baseline: int | None
) -> bool:
    """Whether nothing is left to be told: one trial alone, or it and the baseline, told apart."""
    if len(active) < 2:
        return True
    best, compared = _standing(active, results, judges)
    others = [trial for trial in active if trial != best]
    if others == [baseline]:
        return compared[others[0]].verdict != "cannot tell" if others[0] in compared else False
    return False


def _standing(
    active: Sequence[int], results: Sequence[FoldResult], judges: Judges
) -> tuple[int, Mapping[int, Comparison]]:
    """The best of the active trials, and what tells it from each other that shares a fold and seed with it."""
    scores: dict[int, dict[tuple[int, int], float]] = defaultdict(dict)
    for result in results:
        scores[result.trial][result.fold, result.seed] = result.score
    means = adjusted_means(scores)
    best = max((t for t in active if t in means), key=lambda trial: (means[trial], -trial))
    outcomes = judges.outcomes(results)
    noise = None if outcomes is None else training_noise(outcomes, judges.groups)
    compared = {}
    for trial in active:
        both = sorted(scores[best].keys() & scores.get(trial, {}).keys())
        if trial == best or not both:
            continue
        if outcomes is None or noise is None:
            compared[trial] = paired_t(np.array([scores[best][c] - scores[trial][c] for c in both]))
        else:
            compared[trial] = compare(outcomes[best], outcomes[trial], judges.groups, noise)
    return best, compared
