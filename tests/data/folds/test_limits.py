"""Folds with fewer rows to train on, and the rows that epochs are scored on."""

from __future__ import annotations

import numpy as np
import pytest

from tune_digits.data.folds.limits import WATCHED, at_most, limit_folds, watched_rows
from tune_digits.data.folds.split import Fold
from tune_digits.errors import DataError

LABELS = (np.arange(24_000) % 4)[:, None]
FOLD = Fold(0, np.arange(4_000), np.arange(4_000, 24_000))


def test_epochs_are_scored_on_a_tenth_of_what_is_trained_on_or_a_thousand() -> None:
    assert len(watched_rows(FOLD, LABELS, 0)) == WATCHED == 1000
    many = Fold(0, np.arange(18_000), np.arange(18_000, 24_000))
    assert len(watched_rows(many, LABELS, 0)) == 1800
    few = Fold(0, np.arange(23_500), np.arange(23_500, 24_000))
    np.testing.assert_array_equal(watched_rows(few, LABELS, 0), few.valid_idx)


def test_they_are_even_by_class_validate_and_repeat_by_seed() -> None:
    rows = watched_rows(FOLD, LABELS, 0)
    assert np.bincount(LABELS[rows, 0]).tolist() == [250] * 4
    assert set(rows) <= set(FOLD.valid_idx)
    np.testing.assert_array_equal(rows, watched_rows(FOLD, LABELS, 0))
    assert not np.array_equal(rows, watched_rows(FOLD, LABELS, 1))
    np.testing.assert_array_equal(at_most(rows, LABELS, None, 0), rows)
    np.testing.assert_array_equal(at_most(rows, LABELS, 1000, 0), rows)


def test_a_class_that_is_gone_is_named() -> None:
    with pytest.raises(
        DataError, match=r"data\.subset: of 3 rows, 2 are left to train fold 0 on, .* class number 2"
    ):
        limit_folds([FOLD], LABELS, np.array([0, 1, 5_000]), None, 0)
