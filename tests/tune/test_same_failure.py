"""The same failure again and again stops a search; different ones, or one now and then, do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_samples import halves_task, searched_run, small_study

from tune_digits.config import TrialConfig
from tune_digits.errors import RunError
from tune_digits.runs import Run
from tune_digits.tune import search

TASK = halves_task(60)
STUDY = small_study(
    search={"trials": 8, "startup_trials": 8}, trial={"train": {"epochs": 1, "batch_size": 20}}
)


def fail(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """Let trials fail with `error(number)`, or train where it is None."""
    train = search.train_trial

    def train_or_fail(number: int, config: TrialConfig, shared: Any) -> Iterator[Any]:
        if (failure := error(number)) is not None:
            raise failure
        yield from train(number, config, shared)

    monkeypatch.setattr(search, "train_trial", train_or_fail)


def test_five_times_the_same_stops_the_search_and_it_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fail(patched, lambda number: RuntimeError(f"no kernel for size {number}"))
        with pytest.raises(
            RunError, match=r"the last 5 trials have all failed .*RuntimeError: no kernel for size 4"
        ):
            searched_run(tmp_path, STUDY, TASK)
    assert [r.state for r in Run(tmp_path / "latest").trials()] == ["failed"] * 5
    _, records = searched_run(tmp_path, STUDY, TASK, resume=True)
    assert [r.state for r in records] == ["failed"] * 5 + ["finished"] * 3


@pytest.mark.parametrize(
    "error",
    [
        lambda number: None if number % 5 == 4 else RuntimeError("again"),
        lambda number: None if number == 7 else [RuntimeError, ValueError][number % 2]("different"),
    ],
)
def test_other_failures_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    fail(monkeypatch, error)
    assert len(searched_run(tmp_path, STUDY, TASK)[1]) == 8
