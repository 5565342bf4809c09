"""What the confirmed configurations say of rows that they were not trained on, and what votes of them are worth there.

Shapes: C configurations, n rows of one cell, T targets (heads), K class columns. A *cell* is one fold with one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tune_digits.ensemble.vote import Ballot, Heads, cast, labels_of, soft_vote
from tune_digits.ensemble.vote_fit import FITS, Seen, fit_offsets
from tune_digits.learn.metrics import Metric, score
from tune_digits.runs import FoldResult
from tune_digits.stats.compare import Comparison, compare, paired_t
from tune_digits.stats.contributions import NotASum, contributions
from tune_digits.stats.noise import training_noise
from tune_digits.stats.outcomes import Training

FIT_SEED = 4_000_037  # of the resamples of a fit: the same results give the same vote


@dataclass(frozen=True, slots=True)
class Cell:
    """rows: int64 (n,), of the training set; proba: float32 (C, n, K), of networks that were not trained on them."""

    fold: int
    seed: int
    rows: np.ndarray
    proba: np.ndarray


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """cells: of the folds and seeds that all C configurations have. labels: int64 (rows of the training set, T).

    groups: int64 (rows of the training set,), rows of one group are no independent judges; None = each row is.
    """

    cells: tuple[Cell, ...]
    labels: np.ndarray
    heads: Heads
    metric: Metric
    groups: np.ndarray | None

    def only(self, places: Sequence[int]) -> OutOfFold:
        """The same of the configurations at these places."""
        cells = tuple(replace(cell, proba=cell.proba[list(places)]) for cell in self.cells)
        return replace(self, cells=cells)

    def seen(self, without: np.ndarray | None = None) -> Seen | None:
        """All cells as one, without the rows int64 (m,) and the rest of their groups; None where nothing remains."""
        rows = np.concatenate([cell.rows for cell in self.cells])
        units = rows if self.groups is None else self.groups[rows]
        kept = np.ones(len(rows), bool)
        if without is not None:
            left_out = without if self.groups is None else self.groups[without]
            kept = ~np.isin(units, left_out)
        if not kept.any():
            return None
        proba = np.concatenate([cell.proba for cell in self.cells], axis=1)
        return Seen(proba[:, kept], self.labels[rows[kept]], units[kept])


def gather(
    results: Sequence[FoldResult],
    trials: Sequence[int],
    labels: np.ndarray,
    heads: Heads,
    metric: Metric,
    groups: np.ndarray | None,
) -> OutOfFold | None:
    """The confirming trainings of `trials`, in that order, where all of them have one. None where they share none."""
    found = {(r.trial, r.fold, r.seed): r for r in results}
    shared = set.intersection(*({(r.fold, r.seed) for r in results if r.trial == t} for t in trials))
    cells = []
    for fold, seed in sorted(shared):
        own = [found[trial, fold, seed] for trial in trials]
        rows = np.sort(own[0].valid_idx)
        # each training has its rows in an order of its own
        proba = [r.valid_proba[np.argsort(r.valid_idx, kind="stable")] for r in own]
        cells.append(Cell(fold, seed, rows, np.stack(proba)))
    return OutOfFold(tuple(cells), labels, heads, metric, groups) if cells else None


Votes = list[np.ndarray]  # of each cell float64 (n, K)


def soft_votes(seen: OutOfFold) -> Votes:
    return [soft_vote(cell.proba, seen.heads, Ballot()) for cell in seen.cells]


def unfitted(rule: str, count: int, families: tuple[int, ...]) -> Ballot:
    """The ballot of `count` configurations for a rule that learns nothing: all alike."""
    return Ballot(rule, (), tuple(range(count)), families)


def fitted(rule: str, seen: Seen, heads: Heads, metric: Metric, families: tuple[int, ...]) -> Ballot:
    """The ballot of C configurations, what it learns learnt from `seen`."""
    if rule not in FITS:
        return unfitted(rule, len(seen.proba), families)
    ballot = FITS[rule](seen, heads, metric, np.random.default_rng(FIT_SEED))
    return replace(ballot, configurations=tuple(range(len(seen.proba))), families=families)


def crossfitted(seen: OutOfFold, fit_and_cast: Callable[[Seen, np.ndarray], np.ndarray]) -> Votes | None:
    """The votes in each cell by what was learnt on other rows. None where there are no others: a single fold.

    fit_and_cast: what to learn from, and the probabilities (C, n, K) of the cell -> the vote (n, K).
    """
    votes = []
    for cell in seen.cells:
        others = seen.seen(without=cell.rows)
        if others is None:
            return None
        votes.append(fit_and_cast(others, cell.proba))
    return votes


def votes_by(rule: str, seen: OutOfFold, families: tuple[int, ...], offsets: bool = False) -> Votes | None:
    """The votes of a rule in each cell, cross-fitted where it learns. offsets: with those of `fit_offsets`, too."""

    def fit_and_cast(others: Seen, proba: np.ndarray) -> np.ndarray:
        ballot = fitted(rule, others, seen.heads, seen.metric, families)
        if offsets:
            ballot = with_offsets(ballot, others, seen.heads, seen.metric)
        return cast(proba, seen.heads, ballot)

    if rule in FITS or offsets:
        return crossfitted(seen, fit_and_cast)
    return [cast(cell.proba, seen.heads, unfitted(rule, len(cell.proba), families)) for cell in seen.cells]


def with_offsets(ballot: Ballot, seen: Seen, heads: Heads, metric: Metric) -> Ballot:
    """The ballot with the offsets of its classes that serve the metric best on `seen`."""
    offsets = fit_offsets(cast(seen.proba, heads, ballot), seen.labels, heads, metric)
    return replace(ballot, offsets=tuple(offsets.tolist()))


def mean_score(seen: OutOfFold, votes: Votes) -> float:
    """The mean over cells of the metric of the votes."""
    return float(np.mean(scores(seen, votes)))


def scores(seen: OutOfFold, votes: Votes) -> np.ndarray:
    return np.array(
        [
            score(seen.metric, v, seen.labels[c.rows], seen.heads)
            for c, v in zip(seen.cells, votes, strict=True)
        ]
    )


def gain(seen: OutOfFold, votes: Votes, reference: Votes) -> Comparison:
    """What `votes` score more than `reference`, paired image by image and clustered by group.

    Both are of the same networks, so the noise of trainings is how much their difference varies from cell to cell.
    Where the metric is no sum over images (macro F1): Student's paired t-test over cells. Equal answers differ by 0
    with an error of 0, and nothing can be told.
    """
    pairs = zip(votes, reference, strict=True)
    if all(np.array_equal(labels_of(a, seen.heads), labels_of(b, seen.heads)) for a, b in pairs):
        return Comparison(0.0, 0.0, 0.0, 0.0, 1.0, "cannot tell", math.inf, len(votes))
    sides = {"votes": votes, "reference": reference}
    try:
        outcomes: dict[Hashable, list[Training]] = {
            name: _trainings(seen, side) for name, side in sides.items()
        }
    except NotASum:
        return paired_t(scores(seen, votes) - scores(seen, reference))
    noise = training_noise(outcomes, seen.groups)
    return compare(outcomes["votes"], outcomes["reference"], seen.groups, noise)


def _trainings(seen: OutOfFold, votes: Votes) -> list[Training]:
    metric = seen.metric
    return [
        Training(
            cell.fold,
            cell.seed,
            cell.rows,
            contributions(metric.name, metric.weights, voted, seen.labels[cell.rows], seen.heads),
        )
        for cell, voted in zip(seen.cells, votes, strict=True)
    ]
