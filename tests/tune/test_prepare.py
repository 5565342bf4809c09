"""Before the first trial: the executor and the data side by side, the subset, and the folds."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from run_samples import halves_task, small_study

from tune_digits.errors import ConfigError, DataError
from tune_digits.screen import Progress, Screen
from tune_digits.study import Study
from tune_digits.tune.prepare import draw_subset, folds_of, start_and_read, trained_folds

TASK = halves_task(60)


def inline_study(**parts: Any) -> Study:
    return small_study(resources={"executor": "inline"}, **parts)


def test_the_data_are_read_with_the_studys_options_while_the_executor_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    reading = Event()

    def load_task(*args: object) -> object:
        asked.append(args[:3])
        reading.set()
        return TASK

    def start(resources: object, address: str | None, meanwhile: Any) -> str:
        asked.append((resources, address))
        meanwhile()
        assert reading.wait(20), "reading had to wait for the start"
        return "executor"

    monkeypatch.setattr("tune_digits.data.load.load_task", load_task)
    monkeypatch.setattr("tune_digits.execute.start.start_executor", start)
    study = inline_study()
    assert start_and_read(study, "head:6379", tmp_path, Screen()) == ("executor", TASK)
    assert asked == [(study.resources, "head:6379"), (study.data, study.cv, tmp_path)]


def test_mistakes_of_both_sides_are_raised(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("")
    study = inline_study(data={"path": str(tmp_path / "train.csv")})
    with pytest.raises(DataError, match="empty"):
        start_and_read(study, None, None, Screen())
    with pytest.raises(ConfigError, match="cores"):
        start_and_read(
            small_study(resources={"executor": "inline", "cpus_per_trial": 9999}), None, None, Screen()
        )


def test_a_path_that_is_not_there_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_digits.execute.start.start_executor", None)
    with pytest.raises(DataError, match="nowhere"):
        start_and_read(inline_study(data={"path": "nowhere"}), None, None, Screen())


def test_a_large_file_is_followed_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Event()

    def load_task(data: object, cv: object, cache: object, each: Any) -> object:
        each("big.csv", 0.25)
        assert shown.wait(20)
        each("big.csv", 0.75)
        return TASK

    class Watched(Screen):
        def tick(self, progress: Progress) -> None:
            assert (progress.facts == {"file": "big.csv"} and progress.done == 25) or shown.is_set()
            shown.set()

    monkeypatch.setattr("tune_digits.data.load.load_task", load_task)
    text = io.StringIO()
    _, task = start_and_read(inline_study(), None, None, Watched(Console(file=text)))
    assert task is TASK
    assert "reading: 75/100" in text.getvalue()


def test_a_subset_is_drawn_from_the_training_rows_alone() -> None:
    rows = draw_subset(small_study(data={"subset": 20}), TASK.train)
    assert rows is not None and len(rows) == 20
    assert np.bincount(TASK.train.labels[rows, 0]).tolist() == [10, 10]
    other = draw_subset(small_study(data={"subset": 20}, cv={"folds": 3, "seed": 1}), TASK.train)
    assert other is not None and not np.array_equal(rows, other)


@pytest.mark.parametrize("subset", [None, 60, 61])
def test_without_a_subset_the_rows_are_all(subset: int | None) -> None:
    assert draw_subset(small_study(data={"subset": subset}), TASK.train) is None


def test_a_subset_limits_what_is_trained_on_and_not_what_is_judged() -> None:
    study = small_study(data={"subset": 30})
    rows = draw_subset(study, TASK.train)
    assert rows is not None
    limited, whole = trained_folds(study, TASK.train, rows), folds_of(study.cv, TASK.train)
    for own, fold in zip(limited, whole, strict=True):
        np.testing.assert_array_equal(own.train_idx, np.intersect1d(fold.train_idx, rows))
        np.testing.assert_array_equal(own.valid_idx, fold.valid_idx)
    some = small_study(data={"subset": 30}, cv={"folds": 3, "valid_rows": 8})
    for own, fold in zip(trained_folds(some, TASK.train, None), whole, strict=True):
        np.testing.assert_array_equal(own.train_idx, fold.train_idx)
        assert len(own.valid_idx) == 8 and set(own.valid_idx) < set(fold.valid_idx)


def test_folds_know_groups_and_columns() -> None:
    groups = TASK.train.groups
    assert groups is not None
    for fold in folds_of(small_study(cv={"folds": 3, "groups": "w"}).cv, TASK.train):
        assert not set(groups[fold.train_idx]) & set(groups[fold.valid_idx])
    part = np.array(["0", "1"])[np.arange(60) // 2 % 2]
    train = replace(TASK.train, columns={"part": part}, groups=None)
    first, _ = folds_of(small_study(cv={"fold_column": "part"}).cv, train)
    np.testing.assert_array_equal(first.valid_idx, np.flatnonzero(part == "0"))


def test_the_subset_is_drawn_by_the_seed_of_the_folds_and_not_of_the_search() -> None:
    def rows(**parts: Any) -> list[int]:
        drawn = draw_subset(small_study(data={"subset": 20}, **parts), TASK.train)
        assert drawn is not None
        return drawn.tolist()

    assert rows() == rows(search={"seed": 7, "trials": 4})
    assert rows() != rows(cv={"folds": 3, "seed": 7})


def test_a_subset_is_drawn_evenly_over_the_groups() -> None:
    """One writer has 40 of the 60 rows: the others are drawn as often as there are rows of theirs."""
    groups = np.maximum(np.arange(60) - 39, 0) // 5  # writer 0 has 44 rows, 1 to 3 five each, the last one
    train = replace(TASK.train, groups=groups)
    rows = draw_subset(small_study(data={"subset": 20}), train)
    assert rows is not None
    classes, drawn = train.labels[rows, 0], groups[rows]
    for label in (0, 1):
        there = np.bincount(groups[train.labels[:, 0] == label], minlength=5)
        taken = np.bincount(drawn[classes == label], minlength=5)
        # within a class no writer gives two rows more than another that has some left
        assert taken.max() - taken[taken < there].min(initial=taken.max()) <= 1
