"""ASHA, and its rungs after an interruption."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tune_digits.config import Search
from tune_digits.tune.scheduler import make_scheduler

SEARCH = Search(grace_period=1, reduction_factor=2)  # rungs at epochs 1, 2, 4


def epochs(*scores: float) -> list[dict]:
    return [{"epoch": i, "score": s} for i, s in enumerate(scores, start=1)]


def decisions(recorded, *scores: float, search: Search = SEARCH, of: int = 8) -> list[str]:
    """What ASHA says to each epoch of a trial, until it says STOP."""
    scheduler = make_scheduler(search, of, recorded)
    trial = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, trial)
    said = []
    for report in epochs(*scores):
        said.append(scheduler.on_trial_result(None, trial, report))
        if said[-1] == "STOP":
            break
    return said


def strong(epoch: int, of: int = 8) -> list[tuple[int, list[dict]]]:
    """Four recorded trials that are weak until `epoch` and strong from it on."""
    return [(n, epochs(*[0.1] * (epoch - 1), *[0.9] * (of - epoch + 1))) for n in range(4)]


def test_with_nothing_recorded_a_trial_runs_to_the_last_epoch_where_it_ends() -> None:
    assert decisions([], *[0.2] * 8) == ["CONTINUE"] * 7 + ["STOP"]


@pytest.mark.parametrize("rung", [1, 2, 4])
def test_recorded_trials_fill_every_rung(rung: int) -> None:
    assert decisions(strong(rung), *[0.2] * 8) == ["CONTINUE"] * (rung - 1) + ["STOP"]


def test_a_trial_that_was_stopped_early_fills_the_rungs_up_to_its_end() -> None:
    stopped = [(n, epochs(0.9, 0.9)) for n in range(4)]
    assert decisions(stopped, 0.95, 0.2, 0.2, 0.2) == ["CONTINUE", "STOP"]
    assert decisions(stopped, 0.95, 0.95, 0.2, 0.2) == ["CONTINUE"] * 4


def test_the_grace_period_and_the_reduction_factor_are_the_studys() -> None:
    patient = Search(grace_period=4, reduction_factor=2)
    assert decisions(strong(1), *[0.2] * 8, search=patient) == ["CONTINUE"] * 3 + ["STOP"]
    # the second best of five is kept by one in two, and not by one in four
    recorded = [(n, epochs(score)) for n, score in enumerate((0.1, 0.2, 0.3, 0.9))]
    assert decisions(recorded, 0.5) == ["CONTINUE"]
    assert decisions(recorded, 0.5, search=Search(grace_period=1, reduction_factor=5)) == ["STOP"]


def test_larger_scores_are_better() -> None:
    recorded = [(n, epochs(0.5)) for n in range(4)]
    assert decisions(recorded, 0.9) == ["CONTINUE"]
    assert decisions(recorded, 0.1) == ["STOP"]
