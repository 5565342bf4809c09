"""Which trials are confirmed, and with what."""

from __future__ import annotations

from run_samples import record

from tune_digits.tune.confirm import candidates
from tune_digits.tune.search import rank


def test_a_stopped_trial_ranks_behind_all_that_trained_longer() -> None:
    records = [
        record(0, 0.99, 1, state="pruned"),
        record(1, 0.8),
        record(2, 0.9),
        record(3, 0.95, 4, state="failed"),
        record(4, 0.97, 3, state="pruned"),
    ]
    assert [r.number for r in rank(records)] == [2, 1, 4, 0]


def test_a_trial_that_ended_by_its_own_rule_ranks_by_its_score() -> None:
    records = [
        record(0, 0.95, 20),
        record(1, 0.99, 8, state="ended"),
        record(2, 0.97, 19, state="pruned"),
        record(3, 0.0, 2, state="ended", error="the loss was no longer finite in epoch 2 of 20"),
        record(4, None, 0, state="failed"),
    ]
    assert [r.number for r in rank(records)] == [1, 0, 2, 3]


def test_the_baseline_is_always_confirmed() -> None:
    records = [record(0, 0.5, role="baseline"), record(1, 0.8), record(2, 0.9)]
    assert [r.number for r in candidates(records, 2)] == [2, 1, 0]
    assert [r.number for r in candidates(records, 3)] == [2, 1, 0]
    guess = record(3, 0.2, epochs=1, role="start", state="pruned")
    assert [r.number for r in candidates([*records, guess], 1)] == [2, 0, 3]
