"""The study's parts check each other."""

import pytest

from tune_digits.errors import ConfigError
from tune_digits.study import make_study


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"search": {"fold": 5}}, r"search.fold is 5, but the folds are 0..4"),
        ({"cv": {"folds": 3}, "search": {"fold": 3}}, r"search.fold is 3, but the folds are 0..2"),
        ({"cv": {"holdout": 0.2}, "search": {"fold": 1}}, r"search.fold is 1, but the folds are 0..0"),
        ({"confirm": {"folds": 6}}, r"confirm.folds is 6, but there are 5"),
        ({"cv": {"repeats": 2}, "confirm": {"folds": 11}}, r"confirm.folds is 11, but there are 10"),
    ],
)
def test_folds_that_are_not_there_are_refused(raw, words):
    with pytest.raises(ConfigError, match=words):
        make_study(raw, "my.yaml", "my", {})


def test_folds_that_are_there_or_that_only_a_column_knows_are_taken():
    raw = {"cv": {"repeats": 2}, "search": {"fold": 9}, "confirm": {"folds": 10}}
    assert make_study(raw, "my.yaml", "my", {}).cv.splits == 10
    raw = {"cv": {"fold_column": "f"}, "search": {"fold": 50}, "confirm": {"folds": 60}}
    assert make_study(raw, "my.yaml", "my", {}).search.fold == 50
