"""Out-of-fold predictions: gathered from a run, learnt from without a leak, and compared with their noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_votes import made

from tune_digits.ensemble.out_of_fold import (
    fitted,
    gain,
    gather,
    mean_score,
    scores,
    soft_votes,
    votes_by,
)
from tune_digits.ensemble.vote import VOTES, cast
from tune_digits.ensemble.vote_fit import FITS
from tune_digits.learn.metrics import ACCURACY, Metric, score
from tune_digits.runs import Fingerprints, FoldResult

HEADS = (slice(0, 2),)


def result(trial: int, fold: int, seed: int, rows: list[int], first: float = 0.9) -> FoldResult:
    """A training that gives class 0 the probability first - row / 100."""
    own = np.array(rows)
    zero = first - own / 100
    proba = np.stack([zero, 1 - zero], axis=1).astype(np.float32)
    return FoldResult(trial, fold, seed, own, proba, 0.5, 1.0, Fingerprints("d", "f"))


def test_gathered_are_the_folds_and_seeds_that_all_have_row_by_row() -> None:
    results = [
        result(4, 0, 0, [2, 0, 1]),
        result(7, 0, 0, [0, 1, 2], 0.5),
        result(4, 1, 0, [3, 4]),
        result(4, 0, 1, [0, 1, 2]),
        result(7, 1, 0, [4, 3], 0.5),
        result(9, 0, 0, [0, 1, 2]),
    ]
    labels = np.zeros((5, 1), np.int64)
    seen = gather(results, [7, 4], labels, HEADS, ACCURACY, None)
    assert seen is not None
    assert [(c.fold, c.seed, c.rows.tolist()) for c in seen.cells] == [(0, 0, [0, 1, 2]), (1, 0, [3, 4])]
    expected = [0.5 - np.arange(3) / 100, 0.9 - np.arange(3) / 100]  # 7 first, as asked
    assert seen.cells[0].proba[:, :, 0] == pytest.approx(np.array(expected))
    assert seen.cells[1].proba[:, :, 0] == pytest.approx(np.array([[0.47, 0.46], [0.87, 0.86]]))
    assert gather(results, [7, 5], labels, HEADS, ACCURACY, None) is None  # 5 is not confirmed
    assert seen.only([1]).cells[0].proba.tolist() == seen.cells[0].proba[1:].tolist()


@pytest.mark.parametrize("groups", [None, 50])
@pytest.mark.parametrize("rule", FITS)
def test_what_a_cell_is_judged_by_has_not_seen_its_labels(rule: str, groups: int | None) -> None:
    """Other labels of one fold move no vote of that fold; those of other folds do."""
    seen = made([1.5, 1.0, 0.5], rows=100, groups=groups)
    poisoned = seen.labels.copy()
    poisoned[seen.cells[1].rows] = (poisoned[seen.cells[1].rows] + 1) % 3
    before, after = votes_by(rule, seen, (0, 0, 0)), votes_by(rule, replace(seen, labels=poisoned), (0, 0, 0))
    assert before is not None and after is not None
    np.testing.assert_array_equal(before[1], after[1])
    assert all((before[i] != after[i]).any() for i in (0, 2, 3))


def test_the_rest_of_a_group_and_other_seeds_of_a_row_are_left_out_too() -> None:
    seen = made([1.0, 0.5], rows=100, seeds=2)
    assert [len(seen.seen(without=cell.rows).labels) for cell in seen.cells] == [600] * 8
    across = replace(seen, groups=np.arange(400) % 200 // 10)  # groups that lie in two folds each
    others = across.seen(without=np.arange(10))
    assert len(others.labels) == 2 * (400 - 20)
    assert not np.isin(others.units, across.groups[:10]).any()
    one = replace(seen, cells=seen.cells[:1])
    assert one.seen(without=one.cells[0].rows) is None
    assert votes_by("greedy", one, (0, 0)) is None and votes_by("hard", one, (0, 0)) is not None


def test_units_are_groups_or_rows() -> None:
    seen = made([1.0], rows=20, seeds=2)
    np.testing.assert_array_equal(seen.seen().units, np.concatenate([c.rows for c in seen.cells]))
    grouped = replace(seen, groups=np.arange(80) // 10)
    np.testing.assert_array_equal(grouped.seen().units, np.concatenate([c.rows // 10 for c in seen.cells]))


@pytest.mark.parametrize("rule", VOTES)
def test_each_rule_votes_as_its_ballot_does(rule: str) -> None:
    seen = made([1.5, 1.0, 0.5], rows=60)
    votes = votes_by(rule, seen, (0, 1, 1))
    cell = seen.cells[2]
    ballot = fitted(rule, seen.seen(without=cell.rows), seen.heads, ACCURACY, (0, 1, 1))
    assert ballot.rule == rule and ballot.families == (0, 1, 1)
    np.testing.assert_array_equal(votes[2], cast(cell.proba, seen.heads, ballot))


def test_offsets_are_crossfitted_too() -> None:
    seen = made([1.5, 1.0], rows=80, metric=Metric("macro_recall"))
    rare = np.where((seen.labels == 2) & (np.arange(320)[:, None] % 5 > 0), 1, seen.labels)
    seen = replace(seen, labels=rare)
    poisoned = rare.copy()
    poisoned[seen.cells[0].rows] = 0
    plain = votes_by("soft", seen, (0, 0))
    before = votes_by("soft", seen, (0, 0), offsets=True)
    after = votes_by("soft", replace(seen, labels=poisoned), (0, 0), offsets=True)
    np.testing.assert_array_equal(before[0], after[0])
    assert any((a != b).any() for a, b in zip(plain, before, strict=True))


def test_the_score_is_the_mean_of_the_cells() -> None:
    seen = made([1.0, 2.0], rows=50)
    votes = soft_votes(seen)
    each = [score(ACCURACY, c.proba.mean(0), seen.labels[c.rows], seen.heads) for c in seen.cells]
    assert scores(seen, votes) == pytest.approx(each)
    assert mean_score(seen, votes) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("name", ["accuracy", "macro_recall", "macro_f1"])
def test_a_gain_is_the_difference_of_the_scores_and_is_told_where_it_is_large(name: str) -> None:
    seen = made([2.0, 0.0], rows=300, metric=Metric(name))
    alone, soft = soft_votes(seen.only([0])), soft_votes(seen)
    found = gain(seen, alone, soft)
    assert found.difference == pytest.approx(mean_score(seen, alone) - mean_score(seen, soft))
    assert found.verdict == "better" and gain(seen, soft, alone).verdict == "worse"
    same = gain(seen, soft, soft)
    assert same.difference == 0 and same.verdict == "cannot tell"


def test_a_gain_is_clustered_by_group() -> None:
    """Where all rows of a group are alike, there are as few judges as groups."""
    seen = made([1.2, 1.0], folds=2, rows=200)
    repeated = [np.repeat(np.arange(0, 200, 20), 20) for _ in seen.cells]
    cells = tuple(replace(c, proba=c.proba[:, rows]) for c, rows in zip(seen.cells, repeated, strict=True))
    labels = np.concatenate([seen.labels[c.rows][rows] for c, rows in zip(seen.cells, repeated, strict=True)])
    alike = replace(seen, cells=cells, labels=labels)
    grouped = replace(alike, groups=np.arange(400) // 20)
    votes, reference = soft_votes(alike.only([0])), soft_votes(alike)
    assert gain(grouped, votes, reference).standard_error > 2 * gain(alike, votes, reference).standard_error
