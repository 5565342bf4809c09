"""What the leaderboard says: confirmed means, standard errors, and gains paired with the baseline."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from run_samples import MADE_FROM, fold_result, record

from tune_digits.ensemble.build import far_behind
from tune_digits.learn.metrics import Metric
from tune_digits.runs import FoldResult
from tune_digits.stats.compare import compare
from tune_digits.stats.noise import training_noise
from tune_digits.tune.leaderboard import Judges, leaderboard, out_of_fold


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
    reference = scipy.stats.ttest_rel(scores[2], scores[0]).confidence_interval()
    assert (first["gain_low"], first["gain_high"]) == pytest.approx((reference.low, reference.high))
    assert first["out_of_domain"] == pytest.approx(0.7)
    assert first["trainings"] == 3
    assert (first["folds"], first["seeds"], first["optimizer.lr"]) == (3, 1, 0.2)
    assert first["search_score"] == 0.91  # of its last epoch


def judged(
    trial: int, fold: int, right: np.ndarray, labels: np.ndarray, rows: np.ndarray, seed: int = 0
) -> FoldResult:
    """A confirming training that reads the rows at `right` (bool (n,)) as they are labelled."""
    said = np.where(right, labels[rows, 0], 1 - labels[rows, 0])
    proba = np.eye(2, dtype=np.float32)[said]
    return FoldResult(trial, fold, seed, rows, proba, float(right.mean()), 1.0, MADE_FROM)


def table(
    groups: np.ndarray | None = None, metric: str = "accuracy"
) -> tuple[pd.DataFrame, list[FoldResult]]:
    """Trial 1 reads 3 % more of 3 x 1000 rows right than trial 0, trial 2 as many; two seeds each."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (3000, 1))
    results = []
    for fold in range(3):
        rows = np.arange(fold, 3000, 3)
        hard = rng.random(1000)
        for seed in range(2):
            for trial, limit in ((0, 0.90), (1, 0.93), (2, 0.90)):
                results.append(
                    judged(trial, fold, hard + rng.normal(0, 0.01, 1000) < limit, labels, rows, seed)
                )
    records = [record(0, 0.9, role="baseline"), record(1, 0.9), record(2, 0.9)]
    judges = Judges(Metric(metric), labels, (slice(0, 2),), groups)
    return leaderboard(records, results, judges).set_index("trial"), results


def test_gains_are_told_image_by_image() -> None:
    board, results = table()
    scores = {t: [r.score for r in results if r.trial == t] for t in range(3)}
    assert board.loc[1, "gain"] == pytest.approx(np.mean(scores[1]) - np.mean(scores[0]))
    assert board.loc[1, "verdict"] == "better" and board.loc[1, "more_trainings"] == 0
    assert board.loc[1, "gain_low"] < board.loc[1, "gain"] < board.loc[1, "gain_high"]
    assert board.loc[2, "verdict"] == "cannot tell" and board.loc[2, "more_trainings"] > 0
    assert board.loc[0, "verdict"] == "-" and math.isnan(board.loc[0, "gain"])
    assert board["worst_groups"].isna().all()


def test_rows_of_one_group_are_no_independent_judges() -> None:
    alone, _ = table()
    groups = np.arange(3000) % 3 + 3 * (np.arange(3000) // 1500)  # two in each fold
    grouped, results = table(groups)
    assert grouped.loc[1, "gain"] == pytest.approx(alone.loc[1, "gain"])
    labels = np.random.default_rng(0).integers(0, 2, (3000, 1))
    outcomes = Judges(Metric(), labels, (slice(0, 2),)).outcomes(results)
    assert outcomes is not None
    expected = compare(outcomes[1], outcomes[0], groups, training_noise(outcomes, groups))
    assert grouped.loc[1, "gain_se"] == pytest.approx(expected.standard_error)
    assert grouped.loc[1, "gain_low"] == pytest.approx(expected.low)
    assert grouped.loc[1, "gain_se"] != pytest.approx(alone.loc[1, "gain_se"])


def test_the_worst_tenth_of_the_groups_has_a_score_of_its_own() -> None:
    groups = np.arange(3000) // 3 % 20
    board, results = table(groups)
    own = [r for r in results if r.trial == 1]
    labels = np.random.default_rng(0).integers(0, 2, (3000, 1))
    right = np.zeros(3000)
    for r in own:
        right[r.valid_idx] += r.valid_proba.argmax(1) == labels[r.valid_idx, 0]
    by_group = [right[groups == g].mean() / 2 for g in range(20)]
    assert board.loc[1, "worst_groups"] == pytest.approx(np.mean(sorted(by_group)[:2]))


def test_macro_f1_is_compared_by_fold_and_seed() -> None:
    board, results = table(metric="macro_f1")
    scores = {t: [r.score for r in results if r.trial == t] for t in range(2)}
    reference = scipy.stats.ttest_rel(scores[1], scores[0])
    assert board.loc[1, "gain_low"] == pytest.approx(reference.confidence_interval().low)
    assert board["worst_groups"].isna().all()


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


def test_means_of_other_folds_are_made_comparable() -> None:
    """Trial 1 was only trained on the easy fold: as plain means it would lead."""
    records = [record(0, 0.9, role="baseline"), record(1, 0.9)]
    results = [fold_result(0, 0, 0, 0.99), fold_result(0, 1, 0, 0.89), fold_result(1, 0, 0, 0.98)]
    board = leaderboard(records, results)
    assert list(board["trial"]) == [0, 1] and list(board["trainings"]) == [2, 1]
    assert board["confirmed"].tolist() == pytest.approx([0.94, 0.93])
