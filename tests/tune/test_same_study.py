"""A run goes on with the study that it was begun with, and says what differs where its file was changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_samples import small_study

from tune_digits import runs
from tune_digits.errors import RunError
from tune_digits.runs import Run
from tune_digits.study import load_study
from tune_digits.tune.same_study import check_same_study


@pytest.fixture
def run(tmp_path: Path) -> Run:
    study = small_study()
    return runs.create_run(tmp_path, study.name, study.to_yaml(), {"study": study.raw})


def change(run: Run, old: str, new: str) -> None:
    text = run.study_file.read_text()
    assert text.count(old) == 1, text
    run.study_file.write_text(text.replace(old, new))


def test_the_same_study_goes_on(run: Run) -> None:
    check_same_study(run, load_study(run.study_file))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("epochs: 4", "epochs: 5", r"trial\.train\.epochs is 5, and was 4"),
        (
            "loguniform: [0.0001, 0.1]",
            "loguniform: [0.0001, 0.2]",
            r"trial\.optimizer\.lr\.loguniform is \[0\.0001, 0\.2\]",
        ),
        ("startup_trials: 2", "startup_trials: 3", r"search\.startup_trials is 3, and was 2"),
    ],
)
def test_another_study_is_refused_with_the_difference(run: Run, old: str, new: str, told: str) -> None:
    change(run, old, new)
    with pytest.raises(RunError, match=rf"study\.yaml: has been changed since the run was begun: {told}"):
        check_same_study(run, load_study(run.study_file))


def test_a_study_that_was_cut_short_is_refused(run: Run) -> None:
    text = run.study_file.read_text()
    run.study_file.write_text(text[: text.index("\nbaseline") + 1].replace("epochs: 4, ", ""))
    with pytest.raises(RunError, match=r"trial\.train\.epochs"):
        check_same_study(run, load_study(run.study_file))


def test_how_much_is_done_may_change(run: Run) -> None:
    for key, value in {
        "search.trials": 9,
        "search.time_budget": 60,
        "confirm.candidates": 3,
        "ensemble.top": 2,
    }.items():
        check_same_study(run, load_study(run.study_file, {key: value}))


def test_a_run_of_an_older_version_is_not_compared(tmp_path: Path) -> None:
    study = small_study()
    run = runs.create_run(tmp_path, study.name, study.to_yaml(), {})
    change(run, "epochs: 4", "epochs: 5")
    check_same_study(run, load_study(run.study_file))
