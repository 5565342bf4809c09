"""Epochs of a trial are scored on some of the validation rows, and the trial in the end on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_samples import folds_of, halves_task, searched_run, small_study, told

from tune_digits.data.folds import limits
from tune_digits.tune import training

TASK = halves_task(60)


@pytest.fixture(autouse=True)
def few_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHED", 6)


def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, float]]:
    """The rows and the score of each verdict from now on."""
    seen: list[tuple[np.ndarray, float]] = []
    real = training.verdict_on

    def watched(rows: np.ndarray, *rest: Any) -> tuple[np.ndarray, float]:
        proba, score = real(rows, *rest)
        seen.append((rows, score))
        return proba, score

    monkeypatch.setattr(training, "verdict_on", watched)
    return seen


def test_a_trial_is_judged_on_all_rows_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = judged(monkeypatch)
    study = small_study(search={"trials": 4, "startup_trials": 4, "grace_period": 4})
    run, records = searched_run(tmp_path, study, TASK)
    fold = folds_of(study, TASK)[0]
    assert [r.score for r in records] == [score for _, score in verdicts]
    assert all(np.array_equal(rows, fold.valid_idx) for rows, _ in verdicts)
    assert [t.value for t in told(run, study)] == [r.score for r in records]
    sixths = {n / 6 for n in range(7)}
    for record in records:
        assert {round(e["score"], 9) for e in run.epochs(record.number)} <= {round(n, 9) for n in sixths}
    assert any(round(r.score or 0, 9) not in {round(n, 9) for n in sixths} for r in records)


def test_a_trial_that_the_scheduler_stopped_has_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = judged(monkeypatch)
    more = {"trials": 16, "startup_trials": 16, "grace_period": 1, "reduction_factor": 2}
    study = small_study({"optimizer": {"name": "sgd", "lr": {"loguniform": [1e-6, 1e-1]}}}, search=more)
    run, records = searched_run(tmp_path, study, TASK)
    pruned = [r for r in records if r.state == "pruned"]
    assert pruned and len(verdicts) == len(records) - len(pruned)
    for record in pruned:
        assert record.score == run.epochs(record.number)[-1]["score"]


def test_where_all_rows_are_watched_nothing_is_judged_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCHED", 20)
    verdicts = judged(monkeypatch)
    run, records = searched_run(tmp_path, small_study(search={"trials": 2, "grace_period": 4}), TASK)
    assert verdicts == []
    assert [r.score for r in records] == [run.epochs(r.number)[-1]["score"] for r in records]
