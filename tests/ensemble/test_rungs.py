"""What a step towards an ensemble is worth, and when it is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from run_samples import MADE_FROM

from tune_digits.ensemble.rungs import IMAGES_ALONE, Rung, compared, in_words, judge_rung, score_and_error
from tune_digits.learn.metrics import Metric
from tune_digits.runs import FoldResult
from tune_digits.stats.compare import compare, paired_t
from tune_digits.stats.noise import training_noise
from tune_digits.tune.leaderboard import Judges, mean_and_error

ROWS = 1200
LABELS = np.random.default_rng(0).integers(0, 2, (ROWS, 1))
JUDGES = Judges(Metric(), LABELS, (slice(0, 2),))


def answers(wrong: float, folds: int = 3, seed: int = 0) -> list[FoldResult]:
    """Answers to all rows, of which the hardest `wrong` are wrong: more wrong ones hold those of less wrong ones."""
    hard = np.random.default_rng(1).random(ROWS) + np.random.default_rng(seed).normal(0, 1e-3, ROWS)
    right = hard >= wrong
    made = []
    for fold in range(folds):
        rows = np.arange(fold, ROWS, 3)
        said = np.where(right[rows], LABELS[rows, 0], 1 - LABELS[rows, 0])
        proba = np.eye(2, dtype=np.float32)[said]
        made.append(FoldResult(0, fold, 0, rows, proba, float(right[rows].mean()), 1.0, MADE_FROM))
    return made


def test_a_step_is_told_better_worse_or_neither_and_used_accordingly() -> None:
    before = [answers(0.10)]

    def judged(wrong: float, **more: bool | int) -> Rung:
        return judge_rung("step", answers(wrong, seed=3), before, 0, JUDGES, 2.0, **more)

    better, same, worse = judged(0.04), judged(0.10), judged(0.16)
    assert [r.verdict for r in (better, same, worse)] == ["better", "cannot tell", "worse"]
    assert [r.used for r in (better, same, worse)] == [True, False, False]
    assert [judged(w, unless_worse=True).used for w in (0.04, 0.10, 0.16)] == [True, True, False]
    assert judged(0.16, force=True).used
    assert better.difference == pytest.approx(better.score - np.mean([r.score for r in before[0]]))
    assert (better.name, better.seconds, better.low > 0 > worse.high) == ("step", 2.0, True)


def test_the_best_of_several_forms_needs_a_smaller_p() -> None:
    before, own = [answers(0.10)], answers(0.06, seed=3)
    alone = judge_rung("step", own, before, 0, JUDGES, 0.0)
    assert alone.p is not None and alone.verdict == "better"
    forms = int(0.05 / alone.p) + 1
    few, many = (judge_rung("step", own, before, 0, JUDGES, 0.0, tried=n) for n in (forms // 2, forms))
    assert few.p == pytest.approx(alone.p * (forms // 2)) and few.verdict == "better"
    assert many.p == pytest.approx(alone.p * forms) and many.verdict == "cannot tell"
    assert (many.low, many.high) == (alone.low, alone.high)


def test_the_first_rung_has_nothing_to_compare_with() -> None:
    own = answers(0.1)
    rung = judge_rung("single", own, [], None, JUDGES, 1.0)
    assert (rung.difference, rung.verdict, rung.used) == (None, None, True)
    assert (rung.score, rung.error) == mean_and_error([r.score for r in own])


def test_the_comparison_is_that_of_the_statistics_with_the_noise_of_all_rungs() -> None:
    climbed = [answers(0.2), answers(0.1, seed=2), answers(0.12, seed=3)]
    own = answers(0.08, seed=4)
    sides = [*climbed, own]
    outcomes = JUDGES.outcomes([replace(r, trial=i) for i, side in enumerate(sides) for r in side])
    assert outcomes is not None
    found = compared(own, climbed, 1, JUDGES)
    assert found == compare(outcomes[3], outcomes[1], None, training_noise(outcomes))
    assert found != compare(outcomes[3], outcomes[0], None, training_noise(outcomes))
    groups = np.arange(ROWS) % 40
    grouped = Judges(Metric(), LABELS, (slice(0, 2),), groups)
    assert compared(own, climbed, 1, grouped) == compare(
        outcomes[3], outcomes[1], groups, training_noise(outcomes, groups)
    )


def test_one_outer_fold_is_judged_by_its_images_alone() -> None:
    own, climbed = answers(0.05, folds=1), [answers(0.1, folds=1)]
    outcomes = JUDGES.outcomes([replace(r, trial=i) for i, side in enumerate([*climbed, own]) for r in side])
    assert outcomes is not None
    found = compared(own, climbed, 0, JUDGES)
    assert found == compare(outcomes[1], outcomes[0], None, IMAGES_ALONE) and found.verdict == "better"
    score, error = score_and_error(own, JUDGES)
    n = len(own[0].valid_idx)
    assert error == pytest.approx((score * (1 - score) / (n - 1)) ** 0.5, rel=1e-6)


def test_macro_f1_is_compared_by_fold() -> None:
    judges = Judges(Metric("macro_f1"), LABELS, (slice(0, 2),))
    own, before = answers(0.05, seed=3), answers(0.1)
    differences = np.array([a.score - b.score for a, b in zip(own, before, strict=True)])
    assert compared(own, [before], 0, judges) == paired_t(differences)
    assert score_and_error(own, judges) == mean_and_error([r.score for r in own])
    assert np.isnan(score_and_error(own[:1], judges)[1])


def test_the_words_have_the_numbers_and_what_is_not_used() -> None:
    rungs = [
        Rung("single best model", 0.9896, 0.0005, None, None, None, None, None, 1, True, 60.0),
        Rung("+ TTA 8", 0.9895, 0.0004, -0.0001, -0.0004, 0.0002, 0.6, "cannot tell", 4, False, 3.0),
    ]
    first, second = in_words(rungs)
    assert first == "single best model   98.96 ± 0.05"
    assert second == "+ TTA 8             98.95 ± 0.04   (-0.01, 95 % [-0.04, +0.02], cannot tell)   not used"
