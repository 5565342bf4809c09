"""Rows that are set aside for the last judgement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from run_samples import halves, halves_task, small_study

from tune_digits.config import Cv, RowGroups
from tune_digits.data.dataset import Task
from tune_digits.data.folds.untouched import set_aside
from tune_digits.data.formats import Auto
from tune_digits.data.load import load_task
from tune_digits.errors import ConfigError, DataError

TASK = halves_task(100)


def ids(task: Task) -> tuple[set[int], set[int]]:
    assert task.untouched is not None
    return set(task.train.ids.tolist()), set(task.untouched.ids.tolist())


def test_a_fraction_is_taken_out_evenly_by_class_and_in_whole_groups() -> None:
    plain = replace(TASK, train=replace(TASK.train, groups=None))
    left, aside = ids(set_aside(plain, Cv(untouched=0.2)))
    assert left | aside == set(range(100)) and not left & aside
    labels = TASK.train.labels[sorted(aside), 0]
    assert len(aside) == 20 and abs(labels.mean() - TASK.train.labels.mean()) < 0.05
    grouped = set_aside(TASK, Cv(untouched=0.2, groups="writer"))
    assert grouped.untouched is not None and grouped.untouched.groups is not None
    assert not set(grouped.untouched.groups.tolist()) & set(grouped.train.groups.tolist())
    assert len(set(grouped.untouched.groups.tolist())) == 2


def test_the_seed_draws_them_and_the_folds_have_no_say() -> None:
    plain = replace(TASK, train=replace(TASK.train, groups=None))
    first = ids(set_aside(plain, Cv(untouched=0.2)))
    assert ids(set_aside(plain, Cv(untouched=0.2, folds=2, fold_column="anything"))) == first
    assert ids(set_aside(plain, Cv(untouched=0.2, repeats=3))) == first
    assert ids(set_aside(plain, Cv(untouched=0.2, seed=1))) != first
    assert set_aside(plain, Cv()) is plain


def test_groups_are_named_by_the_values_of_their_column() -> None:
    columns = {"writer": np.repeat(list("abcdefghij"), 10)}
    task = replace(TASK, train=replace(TASK.train, columns=columns))
    left, aside = ids(set_aside(task, Cv(untouched=("c", "j"), groups="writer")))
    assert aside == {*range(20, 30), *range(90, 100)} and len(left) == 80
    with pytest.raises(DataError, match=r"'z', which the column 'writer' does not have\. It has: a, b"):
        set_aside(task, Cv(untouched=("c", "z"), groups="writer"))
    with pytest.raises(DataError, match="100 of 100 rows aside"):
        set_aside(task, Cv(untouched=tuple("abcdefghij"), groups="writer"))


@pytest.mark.parametrize("groups", [None, {"rows_per_group": 10}])
def test_names_need_a_column_of_groups(groups) -> None:
    with pytest.raises(ConfigError, match="untouched names groups, so groups must be the column"):
        small_study(cv={"untouched": ["a"], "groups": groups})


def test_what_cannot_be_drawn_is_said_of_the_right_key() -> None:
    few = replace(TASK, train=replace(halves(40), groups=None))
    with pytest.raises(DataError, match=r"cv\.untouched") as caught:
        set_aside(few, Cv(untouched=0.01))
    assert "holdout" not in str(caught.value)


def test_rows_of_sets_that_join_are_never_drawn() -> None:
    task = replace(TASK, train=replace(TASK.train, groups=None), joined={"more": 60})
    aside = ids(set_aside(task, Cv(untouched=0.5)))[1]
    assert aside <= set(range(40)) and len(aside) == 20
    columns = {"writer": np.repeat(list("abcdefghij"), 10)}
    named = replace(task, train=replace(TASK.train, columns=columns))
    assert ids(set_aside(named, Cv(untouched=("a", "j"), groups="writer")))[1] == set(range(10))


def test_reading_sets_them_aside_and_says_so() -> None:
    whole = load_task(Auto(), Cv())
    task = load_task(Auto(), Cv(untouched=0.1))
    assert task.untouched is not None
    assert len(task.train) + len(task.untouched) == len(whole.train)
    assert f"{len(task.untouched):,} untouched" in task.describe()
    assert task.fingerprint != whole.fingerprint and "untouched" not in whole.digests
    other = replace(task, untouched=task.untouched.take(np.arange(3)))
    assert other.fingerprint != task.fingerprint


def test_rows_per_group_are_counted_before_any_is_taken_out() -> None:
    task = load_task(Auto(), Cv(untouched=0.2, groups=RowGroups(rows_per_group=50)))
    assert task.untouched is not None and task.untouched.groups is not None
    for part in (task.train, task.untouched):
        assert set(np.bincount(part.groups)) <= {0, 50, len(load_task(Auto(), Cv()).train) % 50}
