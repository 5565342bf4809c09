"""Runs are compared image by image where they can be, and refused in words where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_samples import halves_task, record

from tune_digits import runs
from tune_digits.api.comparison import check_comparable, compare_runs
from tune_digits.api.opened import OpenRun
from tune_digits.data.dataset import Task
from tune_digits.errors import RunError
from tune_digits.runs import Fingerprints, FoldResult
from tune_digits.stats.compare import compare
from tune_digits.stats.noise import training_noise
from tune_digits.study import make_study
from tune_digits.tune.answer import Answer, write_answer
from tune_digits.tune.leaderboard import judges_of

MADE = Fingerprints("data", "folds")
Make = Callable[..., OpenRun]


@pytest.fixture
def task() -> Task:
    return halves_task(90)


@pytest.fixture
def make(tmp_path: Path, task: Task) -> Make:
    """A run whose trial 1 is the best and right on a fraction of the rows, on three folds of thirty rows."""

    def made(name: str, right: float, cv: dict[str, Any] | None = None, **facts: Any) -> OpenRun:
        trial = {"optimizer": {"name": "adamw", "lr": {"loguniform": [1e-3, 1e-1]}}}
        study = make_study({"trial": trial, "cv": {"folds": 3, **(cv or {})}}, name, name)
        whole = {"data": {"fingerprint": "data", "described": "90 rows", **task.digests}, "folds": "folds"}
        run = runs.create_run(tmp_path, name, study.to_yaml(), {**whole, **facts}, tmp_path / name)
        rng = np.random.default_rng(len(name))
        for number, share in ((0, 0.5), (1, right)):
            run.write_trial(record(number, share, role="baseline" if number == 0 else "search"))
            for fold in range(3):
                rows = np.arange(30 * fold, 30 * fold + 30)
                hit = rng.permutation(30) < share * 30
                answers = np.where(hit, task.train.labels[rows, 0], 1 - task.train.labels[rows, 0])
                proba = np.eye(2, dtype=np.float32)[answers]
                run.write_fold(FoldResult(number, fold, 0, rows, proba, float(hit.mean()), 2.0, MADE))
        write_answer(run, Answer(1, "score", "best", (1,), 2, right, right - 0.01, 0.0, 1.0))
        return OpenRun(run)

    return made


def test_each_best_stands_against_that_of_the_first(make: Make, task: Task) -> None:
    table = compare_runs([make("a", 0.6), make("bb", 0.9), make("ccc", 0.6)], task)
    assert table["space"].tolist() == ["a", "bb", "ccc"] and table["best"].tolist() == [1, 1, 1]
    assert table["searched"].tolist() == [1, 1, 1] and table["trials"].tolist() == [2, 2, 2]
    assert table["confirmed"].tolist() == [0.6, 0.9, 0.6] and table["corrected"].tolist() == [
        0.59,
        0.89,
        0.59,
    ]
    assert table["search_seconds"].tolist() == [2.0] * 3 and table["confirm_seconds"].tolist() == [12.0] * 3
    assert table["difference"].tolist()[1:] == pytest.approx([0.3, 0.0])
    assert table["verdict"].tolist() == ["-", "better", "cannot tell"]
    assert table["trainings"].tolist() == [0, 3, 3] and pd.isna(table["difference"][0])


def test_the_difference_is_that_of_the_statistics_with_the_noise_of_all_trainings(
    make: Make, task: Task
) -> None:
    first, second = make("a", 0.7), make("bb", 0.8)
    row = compare_runs([first, second], task).iloc[1]
    judges = judges_of(first.study().cv, task)
    ours, theirs = (judges.outcomes(run.folder.folds()) for run in (second, first))
    assert ours is not None and theirs is not None
    noise = training_noise({(0, t): o for t, o in theirs.items()} | {(1, t): o for t, o in ours.items()})
    expected = compare(ours[1], theirs[1], None, noise)
    assert (row["difference"], row["low"], row["high"], row["p"]) == pytest.approx(
        (expected.difference, expected.low, expected.high, expected.p)
    )


def test_macro_f1_is_compared_over_folds(make: Make, task: Task) -> None:
    pair = [make(name, right, {"score": "macro_f1"}) for name, right in (("a", 0.6), ("bb", 0.9))]
    row = compare_runs(pair, task).iloc[1]
    assert row["difference"] == pytest.approx(0.3) and row["trainings"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"fingerprint": "x", "described": "other", "rows": 80}}, "90 rows then, 80 now"),
        ({"folds": "others"}, "their folds differ"),
        ({"cv": {"score": "macro_recall"}}, "the first maximises accuracy, the second macro_recall"),
    ],
)
def test_runs_that_do_not_compare_are_refused_in_words(
    make: Make, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=rf"a and .*bb cannot be compared: .*{message}"):
        check_comparable([make("a", 0.6), make("bb", 0.9, **change)])


def test_runs_without_a_common_fold_are_refused(make: Make, task: Task) -> None:
    first, second = make("a", 0.6), make("bb", 0.9)
    for fold in range(3):
        for seed in (0,):
            old = second.folder.fold_file(1, fold, seed)
            old.rename(old.with_name("0002" + old.name[4:]))
    for result in second.folder.folds(2):
        assert result.trial == 1
    result = first.folder.folds(1)[0]
    for path in (second.path / "confirm").glob("0002-*"):
        path.unlink()
    second.folder.write_fold(
        FoldResult(1, 0, 7, result.valid_idx, result.valid_proba, result.score, 2.0, MADE)
    )
    with pytest.raises(RunError, match="no fold and seed in common"):
        compare_runs([first, second], task)


def test_a_run_without_an_answer_is_refused(make: Make, task: Task) -> None:
    first, second = make("a", 0.6), make("bb", 0.9)
    (second.path / "answer.json").unlink()
    with pytest.raises(RunError, match="no answer"):
        compare_runs([first, second], task)
