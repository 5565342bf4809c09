"""What the leaderboard says: confirmed means, standard errors, and gains paired with the baseline."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tune_digits.cli.search import gain_in_words
from tune_digits.ensemble.build import prefer_out_of_domain
from tune_digits.errors import RunError
from tune_digits.runs import FoldResult, TrialRecord
from tune_digits.tune.confirm import candidates, leaderboard
from tune_digits.tune.search import rank


def record(
    number: int, score: float, epochs: int = 4, role: str = "search", state: str = "finished"
) -> TrialRecord:
    return TrialRecord(number, state, role, {}, {"optimizer.lr": number / 10}, epochs, score, score, 1.0)


def result(trial: int, fold: int, seed: int, score: float, outside: float) -> FoldResult:
    none = np.zeros(0, np.int64)
    return FoldResult(trial, fold, seed, none, np.zeros((0, 10), np.float32), score, 2.0, {"Dig": outside})


def test_a_stopped_trial_ranks_behind_all_that_trained_longer() -> None:
    records = [
        record(0, 0.99, 1, state="pruned"),
        record(1, 0.8),
        record(2, 0.9),
        record(3, 0.95, 4, state="failed"),
    ]
    assert [r.number for r in rank(records)] == [2, 1, 0]


def test_the_baseline_is_always_confirmed() -> None:
    records = [record(0, 0.5, role="baseline"), record(1, 0.8), record(2, 0.9)]
    assert [r.number for r in candidates(records, 2)] == [2, 1, 0]
    assert [r.number for r in candidates(records, 3)] == [2, 1, 0]


def test_the_leaderboard_is_made_of_confirmed_scores_alone() -> None:
    records = [record(0, 0.9, role="baseline"), record(1, 0.99), record(2, 0.91)]
    scores = {0: [0.80, 0.90, 0.82], 1: [0.79, 0.91, 0.80], 2: [0.83, 0.92, 0.86]}
    results = [result(t, f, 0, s, 0.5 + t / 10) for t, own in scores.items() for f, s in enumerate(own)]
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


def test_a_gain_within_two_standard_errors_cannot_be_told() -> None:
    assert gain_in_words({"role": "search", "gain": 0.003, "gain_se": 0.002}) == "+0.0030 cannot tell"
    assert gain_in_words({"role": "search", "gain": 0.005, "gain_se": 0.002}) == "+0.0050 ± 0.0020"
    assert gain_in_words({"role": "search", "gain": 0.005, "gain_se": math.nan}) == "+0.0050 cannot tell"
    assert gain_in_words({"role": "baseline", "gain": 0.0, "gain_se": 0.0}) == "-"


def test_the_holdouts_decide_only_among_those_that_cross_validation_cannot_tell_apart() -> None:
    records = [record(0, 0.9, role="baseline"), record(1, 0.9), record(2, 0.9)]
    scores = {0: [0.90, 0.92, 0.91], 1: [0.91, 0.91, 0.91], 2: [0.80, 0.82, 0.81]}
    outside = {0: 0.70, 1: 0.80, 2: 0.99}
    results = [result(t, f, 0, s, outside[t]) for t, own in scores.items() for f, s in enumerate(own)]
    board = leaderboard(records, results)
    assert list(board["trial"]) == [0, 1, 2]
    assert list(prefer_out_of_domain(board)["trial"]) == [1, 0, 2]
    bare = [FoldResult(r.trial, r.fold, 0, r.valid_idx, r.valid_proba, r.score, 1.0) for r in results]
    with pytest.raises(RunError, match="no labelled set from elsewhere"):
        prefer_out_of_domain(leaderboard(records, bare))
