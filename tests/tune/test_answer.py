"""Which configuration the search says to send in, why, and with what score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from run_samples import MADE_FROM, confirmed_run, halves_task, record, small_study

from tune_digits.errors import RunError
from tune_digits.learn.metrics import Metric
from tune_digits.runs import FoldResult, Run, TrialRecord
from tune_digits.stats.choose import Facts
from tune_digits.stats.choose import choose as by_statistics
from tune_digits.stats.noise import training_noise
from tune_digits.stats.selection import corrected_score
from tune_digits.tune.answer import Answer, find_answer, in_words, read_answer, write_answer
from tune_digits.tune.leaderboard import Judges

ROWS = 3000
LABELS = np.random.default_rng(0).integers(0, 2, (ROWS, 1))


def results(
    limits: dict[int, float], outside: dict[int, float] | None = None, seconds: dict[int, float] | None = None
) -> list[FoldResult]:
    """Three folds of two seeds; a trial reads a row right where its difficulty is below the trial's limit."""
    rng = np.random.default_rng(1)
    made = []
    for fold in range(3):
        rows = np.arange(fold, ROWS, 3)
        hard = rng.random(len(rows))
        for seed in range(2):
            for trial, limit in limits.items():
                right = hard + rng.normal(0, 0.01, len(rows)) < limit
                said = np.where(right, LABELS[rows, 0], 1 - LABELS[rows, 0])
                proba = np.eye(2, dtype=np.float32)[said]
                holdouts = {} if outside is None else {"a": outside[trial] + fold / 1e3, "b": 0.5}
                cost = (seconds or {}).get(trial, 1.0)
                made.append(
                    FoldResult(trial, fold, seed, rows, proba, right.mean(), cost, MADE_FROM, holdouts)
                )
    return made


def records(*roles: str) -> list[TrialRecord]:
    return [record(n, 0.9, role=role) for n, role in enumerate(roles)]


def answer_of(
    found: list[FoldResult],
    roles: tuple[str, ...],
    groups: np.ndarray | None = None,
    metric: str = "accuracy",
) -> Answer:
    judges = Judges(Metric(metric), LABELS, (slice(0, 2),), groups)
    return find_answer(records(*roles), found, judges, np.random.default_rng(0))


def test_the_answer_is_that_of_the_statistics() -> None:
    found = results({0: 0.90, 1: 0.93, 2: 0.95})
    answer = answer_of(found, ("baseline", "search", "search"))
    assert (answer.trial, answer.rule, answer.tied, answer.among) == (2, "score", (2,), 3)
    assert answer.measured == pytest.approx(np.mean([r.score for r in found if r.trial == 2]))
    outcomes = Judges(Metric(), LABELS, (slice(0, 2),)).outcomes(found)
    assert outcomes is not None
    expected = corrected_score(outcomes, None, training_noise(outcomes), 2)
    assert (answer.corrected, answer.low, answer.high) == (expected.score, expected.low, expected.high)
    assert expected.low < expected.score < expected.high


def test_of_equals_the_baseline_is_sent_in_then_a_start_point() -> None:
    found = results({0: 0.90, 1: 0.90, 2: 0.902})
    answer = answer_of(found, ("search", "baseline", "start"))
    assert (answer.trial, answer.rule, set(answer.tied)) == (1, "prior", {0, 1, 2})
    assert answer_of(found, ("search", "search", "start")).trial == 2
    cheap = results({0: 0.90, 1: 0.90, 2: 0.902}, seconds={0: 1.0, 1: 0.5, 2: 2.0})
    assert answer_of(cheap, ("search", "search", "search")).trial == 1
    assert answer_of(cheap, ("search", "search", "search")).rule == "cost"


def test_the_score_is_that_of_the_one_sent_in_and_not_of_the_best() -> None:
    found = results({0: 0.90, 1: 0.90, 2: 0.902})
    answer = answer_of(found, ("search", "baseline", "start"))
    assert answer.measured == pytest.approx(np.mean([r.score for r in found if r.trial == 1]))
    outcomes = Judges(Metric(), LABELS, (slice(0, 2),)).outcomes(found)
    assert outcomes is not None
    expected = corrected_score(outcomes, None, training_noise(outcomes), 1)
    assert answer.corrected == expected.score != pytest.approx(answer.measured, abs=1e-6)
    assert answer.low == expected.low != corrected_score(outcomes, None, training_noise(outcomes)).low


def test_sets_from_elsewhere_decide_where_they_tell() -> None:
    found = results({0: 0.90, 1: 0.90, 2: 0.902}, outside={0: 0.6, 1: 0.6, 2: 0.9})
    answer = answer_of(found, ("baseline", "search", "search"))
    assert (answer.trial, answer.rule) == (2, "out of domain")
    swapped = results({0: 0.90, 1: 0.90, 2: 0.902}, outside={0: 0.6, 1: 0.9, 2: 0.6})
    assert answer_of(swapped, ("baseline", "search", "search")).trial == 1


def test_groups_reach_the_choice() -> None:
    rng = np.random.default_rng(2)
    groups = np.arange(ROWS) // 3 % 20
    found = results({0: 0.90, 1: 0.90})
    for i, r in enumerate(found):  # trial 0 makes its mistakes with eight writers, trial 1 with all
        last = 20 if r.trial else 8
        wrong = rng.permutation(np.flatnonzero(groups[r.valid_idx] < last))[:95]
        said = LABELS[r.valid_idx, 0].copy()
        said[wrong] = 1 - said[wrong]
        proba = np.eye(2, dtype=np.float32)[said]
        found[i] = replace(r, valid_proba=proba, score=float((said == LABELS[r.valid_idx, 0]).mean()))
    answer = answer_of(found, ("baseline", "search"), groups)
    assert (answer.trial, answer.rule) == (1, "worst groups")
    assert answer_of(found, ("baseline", "search")).trial == 0


def test_groups_reach_the_corrected_score() -> None:
    """The rows of a writer are no independent judges: its interval, and the noise behind it, are those of groups."""
    groups = np.arange(ROWS) // 3 % 20
    found = results({0: 0.90, 1: 0.95})
    answer = answer_of(found, ("baseline", "search"), groups)
    outcomes = Judges(Metric(), LABELS, (slice(0, 2),), groups).outcomes(found)
    assert outcomes is not None
    noise = training_noise(outcomes, groups)
    expected = corrected_score(outcomes, groups, noise, answer.trial)
    assert (answer.corrected, answer.low, answer.high) == (expected.score, expected.low, expected.high)
    for other in (
        corrected_score(outcomes, None, noise, answer.trial),
        corrected_score(outcomes, groups, training_noise(outcomes), answer.trial),
    ):
        assert abs(other.low - expected.low) > 1e-6


def test_the_weights_of_rows_reach_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    from tune_digits.tune import answer as room

    seen: list[np.ndarray | None] = []

    def spy(outcomes, facts: dict[int, Facts], groups, noise, rng, weights=None):
        seen.append(weights)
        return by_statistics(outcomes, facts, groups, noise, rng, weights)

    monkeypatch.setattr(room, "choose", spy)
    answer_of(results({0: 0.9, 1: 0.9}), ("baseline", "search"), metric="macro_recall")
    (weights,) = seen
    assert weights is not None
    counts = np.bincount(LABELS[:, 0])
    np.testing.assert_allclose(weights, 1 / (2 * counts[LABELS[:, 0]]))


def test_macro_f1_is_answered_by_the_best_mean_without_a_correction() -> None:
    found = results({0: 0.90, 1: 0.95, 2: 0.951})
    answer = answer_of(found, ("baseline", "search", "search"), metric="macro_f1")
    best = max((1, 2), key=lambda t: np.mean([r.score for r in found if r.trial == t]))
    assert answer.trial == best and set(answer.tied) == {1, 2} and answer.corrected is None
    assert len(in_words(answer)) == 1


def test_an_answer_is_read_as_it_was_written(tmp_path) -> None:
    run = Run(tmp_path)
    with pytest.raises(RunError, match=r"no answer\.json yet; finish the search with"):
        read_answer(run)
    answer = answer_of(results({0: 0.90, 1: 0.95}), ("baseline", "search"))
    write_answer(run, answer)
    assert read_answer(run) == answer
    (tmp_path / "answer.json").write_text('{"trial": 3}')
    with pytest.raises(RunError, match="damaged"):
        read_answer(run)


def test_the_words_have_the_numbers() -> None:
    answer = Answer(
        7, "prior", "3 configurations cannot be told", (7, 2, 1), 9, 0.99451, 0.99312, 0.9905, 0.9951
    )
    first, second = in_words(answer)
    assert first == "send in: trial 7; 3 configurations cannot be told"
    for number in ("from 9", "0.9931,", "0.9905 to 0.9951", "measured: 0.9945"):
        assert number in second


def test_a_confirmation_ends_with_its_answer(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tune_digits.tune import confirm

    states = []

    def spy(chosen, found, judges, rng):
        states.append(rng.bit_generator.state)
        return find_answer(chosen, found, judges, rng)

    monkeypatch.setattr(confirm, "find_answer", spy)
    study = small_study(confirm={"candidates": 2, "folds": 2}, search={"trials": 2, "seed": 5})
    task = halves_task()
    run, board = confirmed_run(tmp_path, study, task)
    answer = read_answer(run)
    assert answer.among == len(board) and answer.trial in set(board["trial"])
    judges = Judges(Metric(), task.train.labels, (slice(0, 2),))
    assert answer == find_answer(run.trials(), run.folds(), judges, np.random.default_rng(5))
    assert states == [np.random.default_rng(5).bit_generator.state]
