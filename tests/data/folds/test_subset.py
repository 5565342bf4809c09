"""Fewer rows, drawn evenly by class and group."""

import numpy as np
import pytest

from tune_digits.data.folds.subset import subset_rows
from tune_digits.errors import DataError

LABELS = np.random.default_rng(0).choice(4, size=400, p=[0.4, 0.3, 0.2, 0.1])[:, None]
GROUPS = np.arange(400) // 13


@pytest.mark.parametrize("n", [20, 101, 160])
def test_subset_is_even_by_class(n):
    rows = subset_rows(LABELS, None, n, seed=0)
    assert rows.shape == (n,) and rows.dtype == np.int64 and (np.diff(rows) > 0).all()
    assert np.ptp(np.bincount(LABELS[rows, 0], minlength=4)) <= 1


def test_short_class_gives_all_it_has():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)[:, None]
    assert np.bincount(labels[subset_rows(labels, None, 43, seed=0), 0]).tolist() == [20, 3, 20]


def test_subset_is_even_by_group_within_class():
    labels, groups = (np.arange(1200) % 4)[:, None], np.arange(1200) // 100
    rows = subset_rows(labels, groups, 150, seed=0)
    cells = np.zeros((4, 12), int)
    np.add.at(cells, (labels[rows, 0], groups[rows]), 1)
    assert np.ptp(cells.sum(axis=1)) <= 1
    assert np.ptp(cells) <= 1


def test_subset_repeats_by_seed_and_may_be_everything():
    np.testing.assert_array_equal(subset_rows(LABELS, None, 50, 3), subset_rows(LABELS, None, 50, 3))
    assert not np.array_equal(subset_rows(LABELS, None, 50, 3), subset_rows(LABELS, None, 50, 4))
    np.testing.assert_array_equal(subset_rows(LABELS, GROUPS, 400, 0), np.arange(400))
    with pytest.raises(DataError, match=r"data.subset is 401, .* 400"):
        subset_rows(LABELS, None, 401, 0)


def test_several_targets_are_drawn_evenly_by_combination():
    labels = np.stack([np.arange(240) % 2, np.arange(240) // 2 % 3], axis=1)
    rows = subset_rows(labels, None, 30, seed=0)
    assert np.bincount(labels[rows] @ [3, 1]).tolist() == [5] * 6
