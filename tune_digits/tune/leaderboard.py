"""What confirmation found, as one table: a row per configuration, with its gain over the baseline."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tune_digits.runs import FoldResult, TrialRecord


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


def leaderboard(records: Sequence[TrialRecord], results: Sequence[FoldResult]) -> pd.DataFrame:
    """One row per confirmed trial, best confirmed mean first.

    gain and gain_se are against the baseline, paired by fold and seed: what both share cancels out.
    """
    by_trial: dict[int, dict[tuple[int, int], FoldResult]] = defaultdict(dict)
    for result in results:
        by_trial[result.trial][result.fold, result.seed] = result
    baseline = next(
        (by_trial[r.number] for r in records if r.role == "baseline" and r.number in by_trial), {}
    )
    rows = []
    for record in records:
        own = by_trial.get(record.number)
        if not own:
            continue
        mean, error = mean_and_error([r.score for r in own.values()])
        pairs = [r.score - baseline[key].score for key, r in own.items() if key in baseline]
        gain, gain_error = mean_and_error(pairs) if pairs else (math.nan, math.nan)
        outside = [s for r in own.values() for s in r.holdout_scores.values()]
        rows.append(
            {
                "trial": record.number,
                "role": record.role,
                "confirmed": mean,
                "confirmed_se": error,
                "folds": len({fold for fold, _ in own}),
                "seeds": len({seed for _, seed in own}),
                "gain": gain,
                "gain_se": gain_error,
                "search_score": record.score,
                "out_of_domain": float(np.mean(outside)) if outside else math.nan,
                "seconds_per_training": float(np.mean([r.seconds for r in own.values()])),
                **record.searched,
            }
        )
    board = pd.DataFrame(rows)
    return board.sort_values(["confirmed", "trial"], ascending=[False, True], ignore_index=True)
