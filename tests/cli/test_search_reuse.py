"""Confirming trainings that another run has done are taken from its records, and none that is another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import Covered, folds, run, search, write_study

from tune_digits.disk import write_json
from tune_digits.errors import RunError
from tune_digits.runs import Fingerprints, Run
from tune_digits.study import load_study
from tune_digits.tune import fold_jobs
from tune_digits.tune.reuse import known_trainings

flags = Covered()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """(trial, fold, seed) of each confirming training that is done."""
    done: list[tuple[int, int, int]] = []
    real = fold_jobs.judge_fold

    def watched(job: Any, *rest: Any) -> Any:
        done.append((job.trial, job.fold, job.seed))
        return real(job, *rest)

    monkeypatch.setattr(fold_jobs, "judge_fold", watched)
    return done


def again(*flags: object, code: int = 0) -> Path:
    assert search("--space", "small.yaml", "--run-dir", "again", *flags) == code
    return Path("again")


@flags("--reuse")
def test_an_equal_run_trains_nothing_again(here: Path, trained: list[Any], capsys) -> None:
    first = run()
    count = len(trained)
    second = again("--reuse", first)
    assert len(trained) == count > 0
    assert f"{count} of {count} confirming trainings were taken from run" in capsys.readouterr().out
    for a, b in zip(folds(first), folds(second), strict=True):
        assert (b.reused_from, a.reused_from) == ("run", "")
        assert replace(b, valid_idx=0, valid_proba=0, reused_from="") == replace(
            a, valid_idx=0, valid_proba=0
        )
        np.testing.assert_array_equal(a.valid_proba, b.valid_proba)
    one, two = (pd.read_csv(path / "leaderboard.csv") for path in (first, second))
    pd.testing.assert_frame_equal(one, two)


def test_only_what_is_missing_is_trained(here: Path, trained: list[Any]) -> None:
    first = run("--confirm-folds", 1)
    trained.clear()
    second = again("--reuse", first, "--confirm-folds", 2)
    assert {fold for _, fold, _ in trained} == {1}
    assert {(r.fold, bool(r.reused_from)) for r in folds(second)} == {(0, True), (1, False)}


def test_the_seed_of_a_training_counts_and_not_its_number(here: Path, trained: list[Any]) -> None:
    write_study(here / "small.yaml", data={"path": "halves"}, confirm={"seeds": 2})
    first = run("--trials", 1, "--seed", 4)
    trained.clear()
    second = again("--trials", 1, "--seed", 5, "--reuse", first)
    # seed 1 of a run that counts from 4 is seed 0 of one that counts from 5
    assert {(f, s) for _, f, s in trained} == {(0, 1), (1, 1)}
    theirs = {(r.fold, r.seed): r.valid_proba for r in folds(first)}
    for r in folds(second):
        if r.reused_from:
            assert r.seed == 0
            np.testing.assert_array_equal(r.valid_proba, theirs[r.fold, 1])


def test_another_configuration_is_another_training(here: Path, trained: list[Any]) -> None:
    first = run("--trials", 1)
    count = len(trained)
    again("--trials", 1, "--set", "model.dropout=0.5", "--reuse", first)
    assert len(trained) == 2 * count


def test_a_run_that_goes_on_reuses_too_and_says_so_where_it_is_stopped(
    here: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    first = run()
    count = len(trained)

    def stopped(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tune_digits.tune.confirm.run_confirm", stopped)
        again("--reuse", first, code=130)
    assert "--resume again --reuse run" in capsys.readouterr().out
    assert search("--resume", "again", "--reuse", first) == 0
    assert len(trained) == count


def test_where_weights_are_kept_everything_is_trained(here: Path, trained: list[Any]) -> None:
    first = run()
    count = len(trained)
    second = again("--reuse", first, "--set", "confirm.keep_weights=true")
    assert len(trained) == 2 * count and list(second.glob("fold_weights/*/*.safetensors"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--subset", 40), "the folds, or the rows that are trained on, are others"),
        (("--groups", "writer"), "the data are others"),
        (("--set", "cv.score=macro_recall"), "the score is another"),
    ],
)
def test_a_run_of_something_else_is_refused(here: Path, flags: tuple[Any, ...], said: str, capsys) -> None:
    first = run()
    again(*flags, "--reuse", first, code=2)
    assert f"--reuse run: its trainings are no others' of this run: {said}" in capsys.readouterr().err
    assert not Path("again").exists()


def test_other_training_code_and_changed_files_are_refused(here: Path) -> None:
    first = run()
    study, known = load_study(first / "study.yaml"), Run(first).facts()
    made = Fingerprints(known["data"]["fingerprint"], known["folds"])
    there = known_trainings([Run(first)], study, made)
    config = Run(first).trials()[0].config
    found = there.find(99, config, 0, 0)  # the same configuration may have another number here
    assert found is not None and (found.trial, found.fold, found.seed) == (99, 0, 0)
    write_json(first / "run.json", {**known, "training_version": -1})
    with pytest.raises(RunError, match="trains otherwise"):
        known_trainings([Run(first)], study, made)
    write_json(first / "run.json", {**known, "given_files": {"a.npz": "x"}})
    with pytest.raises(RunError, match=r"a\.npz, which its trainings use, has changed"):
        known_trainings([Run(first)], study, made)
    assert known_trainings([], study, made).find(0, Run(first).trials()[0].config, 0, 0) is None
