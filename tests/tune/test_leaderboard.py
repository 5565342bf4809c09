"""What the leaderboard says: confirmed means, standard errors, and gains paired with the baseline."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_samples import MADE_FROM, fold_result, record

from tune_digits.ensemble.build import far_behind, prefer_out_of_domain
from tune_digits.errors import RunError
from tune_digits.runs import FoldResult
from tune_digits.tune.leaderboard import leaderboard, out_of_fold


def test_the_leaderboard_is_made_of_confirmed_scores_alone() -> None:
    records = [record(0, 0.9, role="baseline"), record(1, 0.99), replace(record(2, 0.91), best_score=0.97)]
    scores = {0: [0.80, 0.90, 0.82], 1: [0.79, 0.91, 0.80], 2: [0.83, 0.92, 0.86]}
    results = [fold_result(t, f, 0, s, 0.5 + t / 10) for t, own in scores.items() for f, s in enumerate(own)]
    board = leaderboard(records, results)
    assert list(board["trial"]) == [2, 0, 1]  # the lucky search score of trial 1 counts for nothing
    first = board.iloc[0]
    assert first["confirmed"] == pytest.approx(np.mean(scores[2]))
    assert first["confirmed_se"] == pytest.approx(np.std(scores[2], ddof=1) / math.sqrt(3))
    pairs = np.array(scores[2]) - np.array(scores[0])
    assert first["gain"] == pytest.approx(pairs.mean())
    assert first["gain_se"] == pytest.approx(pairs.std(ddof=1) / math.sqrt(3))
    assert first["out_of_domain"] == pytest.approx(0.7)
    assert (first["folds"], first["seeds"], first["optimizer.lr"]) == (3, 1, 0.2)
    assert first["search_score"] == 0.91  # of its last epoch


def test_the_holdouts_decide_only_among_those_that_cross_validation_cannot_tell_apart() -> None:
    records = [record(0, 0.9, role="baseline"), record(1, 0.9), record(2, 0.9)]
    scores = {0: [0.90, 0.92, 0.91], 1: [0.91, 0.91, 0.91], 2: [0.80, 0.82, 0.81]}
    outside = {0: 0.70, 1: 0.80, 2: 0.99}
    results = [fold_result(t, f, 0, s, outside[t]) for t, own in scores.items() for f, s in enumerate(own)]
    board = leaderboard(records, results)
    assert list(board["trial"]) == [0, 1, 2]
    assert list(prefer_out_of_domain(board)["trial"]) == [1, 0, 2]
    bare = [fold_result(r.trial, r.fold, 0, r.score) for r in results]
    with pytest.raises(RunError, match="no labelled set from elsewhere"):
        prefer_out_of_domain(leaderboard(records, bare))


def test_out_of_fold_is_the_mean_over_trainings_that_have_not_seen_the_row() -> None:
    def result(trial: int, fold: int, rows: list[int], first: list[float]) -> FoldResult:
        proba = np.stack([first, 1 - np.array(first)], axis=1)
        return FoldResult(trial, fold, 0, np.array(rows), proba, 1.0, 1.0, MADE_FROM)

    results = [
        result(0, 0, [0, 2], [0.2, 0.4]),
        result(0, 1, [1], [0.6]),
        result(3, 0, [0, 2], [0.4, 0.8]),
        result(3, 1, [1], [1.0]),
    ]
    proba = out_of_fold(results, 3)
    np.testing.assert_allclose(proba[:, 0], [0.3, 0.8, 0.6], atol=1e-7)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    assert out_of_fold(results[:1], 3) is None


def test_members_far_behind_the_best_are_named() -> None:
    board = pd.DataFrame(
        {
            "trial": [4, 0, 7, 9],
            "confirmed": [0.9, 0.89, 0.85, 0.899],
            "confirmed_se": [0.006, 0.006, 0.008, 0.001],
        }
    )
    assert far_behind(board, [4, 0, 7]) == [7]
    assert far_behind(board, [4, 0]) == []
    assert far_behind(board.assign(confirmed_se=math.nan), [4, 0, 7]) == []
    # 0.05 is more than three times the error of either, but not three times that of their difference
    both = board.assign(confirmed_se=[0.013, 0.006, 0.013, 0.001])
    assert far_behind(both, [4, 0, 7]) == []


def test_who_is_as_good_as_the_best_is_judged_by_the_error_of_the_best() -> None:
    board = pd.DataFrame(
        {
            "trial": [0, 1, 2],
            "confirmed": [0.92, 0.915, 0.80],
            "confirmed_se": [0.01, 0.0, 0.5],
            "out_of_domain": [0.5, 0.9, 0.99],
        }
    )
    assert list(prefer_out_of_domain(board)["trial"]) == [1, 0, 2]
