"""A run goes on only with the data, folds, given files and training version that it was begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_samples import folds_of, halves, halves_task, record, small_study

from tune_digits import runs
from tune_digits.data.dataset import Task
from tune_digits.errors import RunError
from tune_digits.runs import Fingerprints, FoldResult, Run
from tune_digits.study import Study
from tune_digits.tune import same_data
from tune_digits.tune.prepare import trained_folds
from tune_digits.tune.same_data import check_same_data, check_same_search, facts_of, made_from

TASK = halves_task(60, test=20)


def begin(folder: Path, study: Study, task: Task = TASK) -> Run:
    fingerprints = made_from(task, folds_of(study, task))
    return runs.create_run(folder, "small", study.to_yaml(), facts_of(study, task, fingerprints))


def go_on(run: Run, study: Study, task: Task = TASK, rows: np.ndarray | None = None) -> None:
    check_same_data(run, study, task)
    check_same_search(run, made_from(task, trained_folds(study, task.train, rows)))


def changed(**parts: Any) -> Task:
    return replace(TASK, train=replace(TASK.train, **parts))


def test_the_same_data_go_on(tmp_path: Path) -> None:
    study = small_study()
    run = begin(tmp_path, study)
    go_on(run, study)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (halves_task(100, test=20), "60 rows then, 100 now"),
        (changed(labels=1 - TASK.train.labels), "the labels differ"),
        (changed(images=255 - TASK.train.images), "the images differ"),
        (changed(groups=TASK.train.groups[::-1].copy()), "the groups differ"),
        (changed(ids=TASK.train.ids + 1), "the ids differ"),
        (replace(TASK, train=TASK.train.take(np.arange(60)[::-1])), "images"),
        (replace(TASK, test=halves(20, seed=5)), "test set differs"),
        (replace(TASK, test=None), "test set is gone"),
        (replace(TASK, holdouts={"more": halves(20, seed=5)}), "holdout more is new"),
    ],
)
def test_other_data_are_refused_with_what_differs(tmp_path: Path, task: Task, words: str) -> None:
    study = small_study()
    run = begin(tmp_path, study)
    with pytest.raises(RunError) as error:
        check_same_data(run, study, task)
    assert words in str(error.value)
    assert str(run.path) in str(error.value)


def test_other_folds_or_another_subset_are_refused(tmp_path: Path) -> None:
    study = small_study()
    run = begin(tmp_path, study)
    with pytest.raises(RunError, match="folds"):
        go_on(run, small_study(cv={"folds": 3, "seed": 1}))
    with pytest.raises(RunError, match="folds"):
        go_on(run, small_study(cv={"folds": 4}))
    with pytest.raises(RunError, match="folds"):
        go_on(run, study, rows=np.arange(30))


def test_fingerprints_differ_with_data_subset_and_folds() -> None:
    study, rows = small_study(), np.arange(30)
    folds = trained_folds(study, TASK.train, rows)
    made = [
        made_from(TASK, folds),
        made_from(changed(labels=1 - TASK.train.labels), folds),
        made_from(TASK, trained_folds(study, TASK.train, rows + 30)),
        made_from(TASK, trained_folds(study, TASK.train, None)),
        made_from(TASK, folds[::-1]),
        made_from(TASK, trained_folds(small_study(cv={"folds": 3, "valid_rows": 9}), TASK.train, rows)),
    ]
    assert len(set(made)) == 6
    assert made_from(TASK, trained_folds(study, TASK.train, rows.copy())) == made[0]
    assert [m.data == made[0].data for m in made] == [True, False, True, True, True, True]


@pytest.mark.parametrize("kept", ["a trial", "a confirming training"])
@pytest.mark.parametrize("other", [{"data": "x"}, {"folds": "x"}])
def test_a_record_of_another_run_is_refused(tmp_path: Path, kept: str, other: dict[str, str]) -> None:
    study = small_study()
    run = begin(tmp_path, study)
    own = made_from(TASK, folds_of(study, TASK))

    def put(fingerprints: Fingerprints) -> None:
        if kept == "a trial":
            run.write_trial(replace(record(3, 0.5), fingerprints=fingerprints))
        else:
            run.write_fold(FoldResult(3, 0, 0, np.arange(2), np.ones((2, 2)) / 2, 1.0, 1.0, fingerprints))

    put(own)
    go_on(run, study)
    put(replace(own, **other))
    with pytest.raises(RunError, match="0003") as error:
        check_same_data(run, study, TASK)
    assert "other data or folds" in str(error.value)


def test_given_files_are_compared_by_content(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.npz"
    np.savez(teacher, proba=np.full((60, 2), 0.5, np.float32))
    loss = {"name": "cross_entropy", "teacher": str(teacher), "teacher_weight": 0.5}
    study = small_study({"loss": loss})
    run = begin(tmp_path, study)
    assert list(run.facts()["given_files"]) == [str(teacher)]
    go_on(run, study)
    np.savez(teacher, proba=np.tile(np.float32([0.4, 0.6]), (60, 1)))
    with pytest.raises(RunError, match=r"teacher\.npz has changed"):
        check_same_data(run, study, TASK)


def test_another_training_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small_study()
    run = begin(tmp_path, study)
    monkeypatch.setattr(same_data, "TRAINING_VERSION", same_data.TRAINING_VERSION + 1)
    with pytest.raises(RunError, match="training version"):
        go_on(run, study)
