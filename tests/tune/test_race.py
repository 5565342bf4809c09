"""Confirmation as a race: who leaves and when, what the budget allows, and that a killed race goes on as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from run_samples import INLINE, MADE_FROM, confirmed_run, halves_task, record, small_study

from tune_digits.config import Confirm, Resources
from tune_digits.errors import ConfigError
from tune_digits.execute.inline import InlineExecutor
from tune_digits.execute.slots import Slots
from tune_digits.learn.metrics import Metric
from tune_digits.runs import FoldResult, Run
from tune_digits.screen import Screen
from tune_digits.stats.compare import compare
from tune_digits.stats.noise import training_noise
from tune_digits.tune import confirm
from tune_digits.tune import race as race_room
from tune_digits.tune.confirm import Trainer, run_race
from tune_digits.tune.leaderboard import Judges
from tune_digits.tune.race import cells, is_decided, still_in

ROWS, FOLDS = 3000, 3
LABELS = np.random.default_rng(0).integers(0, 2, (ROWS, 1))
JUDGES = Judges(Metric(), LABELS, (slice(0, 2),))
Cell = tuple[int, int]


def result(trial: int, cell: Cell, rates: dict[int, float], seconds: float = 1.0) -> FoldResult:
    fold, seed = cell
    rows = np.arange(fold, ROWS, FOLDS)
    hard = np.random.default_rng(fold).random(len(rows))
    own = np.random.default_rng([fold, seed, trial])
    right = hard + own.normal(0, 0.02, len(rows)) < rates[trial]
    proba = np.eye(2, dtype=np.float32)[np.where(right, LABELS[rows, 0], 1 - LABELS[rows, 0])]
    return FoldResult(trial, fold, seed, rows, proba, float(right.mean()), seconds, MADE_FROM)


def results(rates: dict[int, float], which: Sequence[Cell]) -> list[FoldResult]:
    return [result(trial, cell, rates) for trial in rates for cell in which]


TWO, THREE = [(0, 0), (1, 0)], [(0, 0), (1, 0), (2, 0)]


def test_rounds_go_fold_by_fold_then_seed_by_seed_and_on() -> None:
    assert list(islice(cells([0, 2], 2), 7)) == [(0, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2), (0, 3)]


def test_who_is_told_to_be_worse_than_the_best_leaves() -> None:
    rates = {0: 0.95, 1: 0.80, 2: 0.949, 3: 0.80}
    found = results(rates, TWO)
    assert still_in([0, 1, 2, 3], found, JUDGES, None) == [0, 2]
    assert still_in([0, 1, 2, 3], found, JUDGES, 3) == [0, 2, 3]  # the baseline stays
    assert still_in([0, 1, 2, 3], results(rates, [(0, 0)]), JUDGES, None) == [0, 1, 2, 3]


def test_nobody_leaves_on_one_training_and_who_failed_stays() -> None:
    rates = {0: 0.95, 1: 0.80, 2: 0.949}
    found = [r for r in results(rates, THREE) if not (r.trial == 1 and r.fold > 0)]
    assert still_in([0, 1, 2], found, JUDGES, None) == [0, 1, 2]
    nothing = [r for r in found if r.trial != 1]
    assert still_in([0, 1, 2], nothing, JUDGES, None) == [0, 1, 2]


def test_a_p_of_a_tenth_is_enough() -> None:
    for gap in np.arange(0.001, 0.05, 0.0005):
        rates = {0: 0.95, 1: 0.95 - gap, 2: 0.95, 3: 0.95}
        found = results(rates, THREE)
        outcomes = JUDGES.outcomes(found)
        assert outcomes is not None
        means = {t: np.mean([r.score for r in found if r.trial == t]) for t in rates}
        best = max(means, key=lambda t: means[t])
        seen = compare(outcomes[best], outcomes[1], None, training_noise(outcomes))
        if 0.06 < seen.p < 0.09:
            break
    assert 0.06 < seen.p < 0.09
    assert 1 not in still_in([0, 1, 2, 3], found, JUDGES, None)


def test_the_best_is_by_means_that_can_be_compared() -> None:
    """Trial 1 was only trained on the easy fold: as plain means it would lead, and trial 2 shares no fold with it."""
    easy = [result(t, (0, 0), {0: 0.99, 1: 0.97}) for t in (0, 1)]
    hard = [result(t, cell, {0: 0.80, 2: 0.60}) for t in (0, 2) for cell in ((1, 0), (2, 0))]
    assert still_in([0, 1, 2], [*easy, *hard], JUDGES, None) == [0, 1]


def test_groups_reach_the_comparison_and_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.arange(ROWS) // 3 % 4
    together = Judges(Metric(), LABELS, (slice(0, 2),), groups)
    asked = []

    def spy(outcomes: Any, own: Any) -> Any:
        asked.append(own)
        return training_noise(outcomes, own)

    monkeypatch.setattr(race_room, "training_noise", spy)
    found = results({0: 0.95, 1: 0.93, 2: 0.95}, THREE)
    assert still_in([0, 1, 2], found, JUDGES, None) == [0, 2]
    still_in([0, 1, 2], found, together, None)
    assert asked[0] is None and asked[1] is groups
    outcomes = JUDGES.outcomes(found)
    assert outcomes is not None
    # trial 1 makes all of its further mistakes in one of four groups
    heaped = [
        replace(r, valid_proba=np.eye(2, dtype=np.float32)[np.where(spoiled(r, groups), 1 - own, own)])
        for r in found
        for own in [LABELS[r.valid_idx, 0]]
    ]
    assert 1 not in still_in([0, 1, 2], heaped, JUDGES, None)
    assert 1 in still_in([0, 1, 2], heaped, together, None)


def spoiled(r: FoldResult, groups: np.ndarray) -> np.ndarray:
    """Which rows are wrong: every twentieth, and of trial 1 every third one of group 0 as well."""
    rows = np.arange(len(r.valid_idx))
    return (rows % 20 == 7) | ((r.trial == 1) & (groups[r.valid_idx] == 0) & (rows % 3 == 0))


def test_macro_f1_is_raced_by_folds_and_seeds() -> None:
    judges = Judges(Metric("macro_f1"), LABELS, (slice(0, 2),))
    assert still_in([0, 1, 2], results({0: 0.95, 1: 0.80, 2: 0.95}, THREE), judges, None) == [0, 2]


def test_it_is_decided_when_nothing_is_left_to_tell() -> None:
    found = results({0: 0.95, 1: 0.80, 2: 0.95}, THREE)
    assert is_decided([0], found, JUDGES, None)
    assert is_decided([0, 1], found, JUDGES, 1)  # told from the baseline
    assert not is_decided([0, 2], found, JUDGES, 2)
    assert not is_decided([0, 1], found, JUDGES, None)  # neither is the baseline: still_in decides
    assert not is_decided([0, 1, 2], found, JUDGES, 1)


class Trains:
    """Stands in for `confirm_folds`."""

    def __init__(self, rates: dict[int, float], seconds: float = 1.0, stop_after: int | None = None) -> None:
        self.rates, self.seconds, self.stop_after = rates, seconds, stop_after
        self.done: list[tuple[int, int, int]] = []

    def __call__(self, jobs: Sequence[Any], shared: Any) -> list[FoldResult]:
        if self.stop_after is not None and len(self.done) >= self.stop_after:
            raise KeyboardInterrupt
        self.done += [(job.fold, job.seed, job.trial) for job in jobs]
        return [result(j.trial, (j.fold, j.seed), self.rates, self.seconds) for j in jobs]


def race(
    trains: Trains, folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int = 1, **plan: Any
) -> tuple[set[int], list[str]]:
    said: list[str] = []
    monkeypatch.setattr(confirm, "confirm_folds", trains)
    monkeypatch.setattr(Screen, "say", lambda self, text="": said.append(text))
    executor = InlineExecutor(Slots(1, 0, at_once))
    shared: Any = SimpleNamespace(training=None, folds={0: SimpleNamespace(train_idx=np.arange(3))})
    chosen = [record(t, 0.9, role="baseline" if t == 0 else "search") for t in trains.rates]
    trainer = Trainer(Run(folder), shared, Resources(), executor, Screen())
    left = run_race(Confirm(**plan), chosen, list(range(FOLDS)), JUDGES, trainer, Screen())
    return left, said


RATES = {0: 0.949, 1: 0.95, 2: 0.80, 3: 0.951, 4: 0.78}


def test_the_tied_and_the_baseline_get_the_trainings_and_the_budget_is_kept(
    tmp_path: Path, monkeypatch
) -> None:
    trains = Trains(RATES)
    left, said = race(trains, tmp_path, monkeypatch, budget=18)
    assert left == {2, 4}
    first = [(fold, 0, trial) for fold in (0, 1) for trial in RATES]
    assert trains.done == [*first, (2, 0, 0), (2, 0, 1), (2, 0, 3), (0, 1, 0), (0, 1, 1), (0, 1, 3)]
    assert (
        said[-1] == "race: 16 trainings in 4 rounds, with 2 seeds instead of 1; 2 of 5 configurations left it"
    )


def test_all_train_twice_whatever_the_budget(tmp_path: Path, monkeypatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(Screen, "warn", lambda self, text: warned.append(text))
    trains = Trains(RATES)
    race(trains, tmp_path, monkeypatch, budget=3)
    assert len(trains.done) == 10
    assert warned == [
        "confirm.budget 3: 5 configurations train twice each before one may leave, so there are 10 trainings"
    ]


def test_a_time_is_that_of_the_trainings_side_by_side(tmp_path: Path, monkeypatch) -> None:
    equal = dict.fromkeys(range(3), 0.95)
    for at_once, rounds in ((1, 4), (2, 8)):
        trains = Trains(equal, seconds=10.0)
        race(trains, tmp_path / str(at_once), monkeypatch, at_once=at_once, budget="2m")
        assert len(trains.done) == 3 * rounds


def test_a_race_that_was_killed_goes_on_as_it_would_have(tmp_path: Path, monkeypatch) -> None:
    whole = Trains(RATES)
    race(whole, tmp_path / "whole", monkeypatch, budget=18)
    killed = Trains(RATES, stop_after=12)
    with pytest.raises(KeyboardInterrupt):
        race(killed, tmp_path / "killed", monkeypatch, budget=18)
    rest = Trains(RATES)
    left, _ = race(rest, tmp_path / "killed", monkeypatch, budget=18)
    assert left == {2, 4}
    assert sorted(killed.done + rest.done) == sorted(whole.done)
    more = Trains(RATES)
    race(more, tmp_path / "killed", monkeypatch, budget=21)  # with a larger budget it goes further
    assert more.done == [(1, 1, 0), (1, 1, 1), (1, 1, 3)]


def test_it_ends_early_where_all_is_decided(tmp_path: Path, monkeypatch) -> None:
    trains = Trains({0: 0.80, 1: 0.95, 2: 0.85})
    left, _ = race(trains, tmp_path, monkeypatch, budget=100)
    assert left == {2} and len(trains.done) == 6


@pytest.mark.parametrize("given", [0, -1, "m", "1x", "-2m", 1.5])
def test_a_budget_is_a_number_of_trainings_or_a_time(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"confirm\.budget"):
        small_study(confirm={"budget": given})


def test_the_leaderboard_says_who_left_and_compares_what_can_be_compared(tmp_path: Path, monkeypatch) -> None:
    study = small_study(
        {"train": {"epochs": 2, "batch_size": 20}},
        search={"trials": 3, "startup_trials": 3, "grace_period": 2},
        confirm={"candidates": 3, "budget": 9},
    )
    run, board = confirmed_run(tmp_path, study, halves_task())
    counts = {t: len(run.folds(t)) for t in board["trial"]}
    assert sum(counts.values()) <= 9 and min(counts.values()) >= 2
    most = max(counts.values())
    assert {t for t, n in counts.items() if n < most} <= set(board["trial"][board["left"]])
    monkeypatch.setattr(confirm, "run_race", lambda *args: {1})
    _, again = confirmed_run(tmp_path, study, halves_task(), resume=True)
    assert dict(zip(again["trial"], again["left"], strict=True)) == {t: t == 1 for t in counts}
    plain, table = confirmed_run(
        tmp_path / "plain", small_study(confirm={"candidates": 1}, search={"trials": 1}), halves_task()
    )
    assert "left" not in table and len(plain.folds()) == 3
    assert INLINE.slots.at_once == 1
