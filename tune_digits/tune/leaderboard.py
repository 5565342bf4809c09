"""What confirmation found, as one table: a row per configuration, with its gain over the baseline."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tune_digits.config import Cv
from tune_digits.data.dataset import Task, head_slices
from tune_digits.learn.metrics import Metric, metric_of
from tune_digits.runs import FoldResult, TrialRecord
from tune_digits.stats.compare import Comparison, compare, paired_t
from tune_digits.stats.contributions import NotASum, contributions, image_weights
from tune_digits.stats.noise import training_noise
from tune_digits.stats.outcomes import Training
from tune_digits.stats.selection import adjusted_means
from tune_digits.stats.worst import worst_tenth


def out_of_fold(results: Sequence[FoldResult], rows: int) -> np.ndarray | None:
    """Mean of what trainings say of rows that they have not seen: float32 (rows, K), each row of it probabilities.

    None where some row is in no validation part (fewer folds than there are, or a row that always trains).
    """
    if not results:
        return None
    total = np.zeros((rows, results[0].valid_proba.shape[1]))
    count = np.zeros(rows)
    for result in results:
        # a fold names each of its rows once
        total[result.valid_idx] += result.valid_proba
        count[result.valid_idx] += 1
    return (total / count[:, None]).astype(np.float32) if count.all() else None


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error (NaN for a single value).

    Folds share training data, so the true error is somewhat larger (Bengio and Grandvalet 2004).
    """
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return mean, error


@dataclass(frozen=True, slots=True)
class Judges:
    """What the validated rows are, so that configurations can be compared image by image.

    labels: int64 (N, T) of all training rows; heads: the class columns of each target. groups: int64 (N,), rows of one
    group (a writer) are no independent judges; None = each row is.
    """

    metric: Metric
    labels: np.ndarray
    heads: tuple[slice, ...]
    groups: np.ndarray | None = None

    def outcomes(self, results: Sequence[FoldResult]) -> dict[Hashable, list[Training]] | None:
        """Trial -> its trainings, image by image; None where the metric is no sum over images (macro F1)."""
        found: dict[Hashable, list[Training]] = defaultdict(list)
        for r in results:
            try:
                each = contributions(
                    self.metric.name, self.metric.weights, r.valid_proba, self.labels[r.valid_idx], self.heads
                )
            except NotASum:
                return None
            found[r.trial].append(Training(r.fold, r.seed, r.valid_idx, each))
        return found

    def weights(self) -> np.ndarray:
        """The most that each training row can add to a score of all of them: float64 (N,), with the sum 1.

        Raises NotASum for macro F1.
        """
        return np.asarray(image_weights(self.metric.name, self.metric.weights, self.labels).sum(1))

    def of_worst_groups(self, trainings: Sequence[Training]) -> float:
        """The score on the worst tenth of the groups, all trainings together; NaN without groups."""
        if self.groups is None:
            return math.nan
        rows = np.concatenate([t.rows for t in trainings])
        most = [
            image_weights(self.metric.name, self.metric.weights, self.labels[t.rows]).sum(1)
            for t in trainings
        ]
        own = np.concatenate([t.contributions for t in trainings])
        return worst_tenth(own, np.concatenate(most), self.groups[rows])


def judges_of(cv: Cv, task: Task) -> Judges:
    """The training rows as judges, together in groups where the study says so."""
    groups = None if cv.groups is None else task.train.groups
    return Judges(metric_of(cv, task.targets), task.train.labels, head_slices(task.targets), groups)


def leaderboard(
    records: Sequence[TrialRecord], results: Sequence[FoldResult], judges: Judges | None = None
) -> pd.DataFrame:
    """One row per confirmed trial, best confirmed mean first.

    confirmed: the mean over folds and seeds, whose effects are removed where not all trials have all of them.
    gain, its standard error, 95 % interval and verdict are against the baseline, paired by fold, seed and image: what
    both share cancels out. Where the metric is no sum over images, and without `judges`, they are those of Student's
    t-test over folds and seeds. more_trainings: how many more of each of the two would tell a gain of that size.
    """
    by_trial: dict[int, dict[tuple[int, int], FoldResult]] = defaultdict(dict)
    for result in results:
        by_trial[result.trial][result.fold, result.seed] = result
    confirmed = [r for r in records if by_trial.get(r.number)]
    outcomes = judges.outcomes([r for own in by_trial.values() for r in own.values()]) if judges else None
    noise = None if outcomes is None or judges is None else training_noise(outcomes, judges.groups)
    baseline = next((r.number for r in confirmed if r.role == "baseline"), None)
    means = adjusted_means({r.number: {k: f.score for k, f in by_trial[r.number].items()} for r in confirmed})

    def gain_of(trial: int) -> Comparison | None:
        if baseline is None or trial == baseline or not by_trial[trial].keys() & by_trial[baseline].keys():
            return None
        if outcomes is None or judges is None or noise is None:
            shared = by_trial[trial].keys() & by_trial[baseline].keys()
            return paired_t(
                np.array([by_trial[trial][k].score - by_trial[baseline][k].score for k in shared])
            )
        return compare(outcomes[trial], outcomes[baseline], judges.groups, noise)

    rows = []
    for record in confirmed:
        own = by_trial[record.number]
        _, error = mean_and_error([r.score for r in own.values()])
        gain = gain_of(record.number)
        outside = [s for r in own.values() for s in r.holdout_scores.values()]
        worst = (
            math.nan
            if outcomes is None or judges is None
            else judges.of_worst_groups(outcomes[record.number])
        )
        rows.append(
            {
                "trial": record.number,
                "role": record.role,
                "confirmed": means[record.number],
                "confirmed_se": error,
                "trainings": len(own),
                "folds": len({fold for fold, _ in own}),
                "seeds": len({seed for _, seed in own}),
                "gain": math.nan if gain is None else gain.difference,
                "gain_se": math.nan if gain is None else gain.standard_error,
                "gain_low": math.nan if gain is None else gain.low,
                "gain_high": math.nan if gain is None else gain.high,
                "verdict": "-" if gain is None else gain.verdict,
                "more_trainings": math.nan if gain is None else gain.more_trainings,
                "search_score": record.score,
                "worst_groups": worst,
                "out_of_domain": float(np.mean(outside)) if outside else math.nan,
                "seconds_per_training": float(np.mean([r.seconds for r in own.values()])),
                **record.searched,
            }
        )
    board = pd.DataFrame(rows)
    return board.sort_values(["confirmed", "trial"], ascending=[False, True], ignore_index=True)
