"""Paired comparison: against the textbook's formulas, its symmetries, its error rates."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_outcomes import made
from scipy import stats

from tune_digits.stats.compare import compare, paired_t
from tune_digits.stats.noise import Noise, training_noise
from tune_digits.stats.outcomes import Training, row_covariance, tabulate

QUIET = Noise(0.0, 0.0, 1e9, 1.0)  # trainings that are known to have no noise


def one_fold(*rights):
    rows = np.arange(len(rights[0]))
    return [[Training(0, 0, rows, np.asarray(r) / len(rows))] for r in rights]


def test_many_rows_that_differ_are_the_one_sample_t_test_of_the_differences():
    rng = np.random.default_rng(0)
    a, b = rng.random(2000) < 0.9, rng.random(2000) < 0.87
    found = compare(*one_fold(a, b), None, QUIET)
    reference = stats.ttest_1samp(a.astype(float) - b, 0)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.p == pytest.approx(reference.pvalue, rel=0.02)  # one row is added to the variance
    low, high = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=3e-4)


@pytest.mark.parametrize(("wins", "losses"), [(6, 0), (5, 0), (9, 1), (10, 3), (1, 0), (4, 4)])
def test_few_rows_that_differ_are_mcnemars_exact_test(wins, losses):
    a, b = np.ones(5000), np.ones(5000)
    b[:wins], a[wins : wins + losses] = 0, 0
    found = compare(*one_fold(a, b), None, QUIET)
    exact = stats.binomtest(wins, wins + losses).pvalue
    assert found.p >= exact - 1e-12
    if exact > 0.04:
        assert found.p == pytest.approx(exact, rel=0.05) or found.p > exact
    assert (found.verdict == "better") == (found.p < 0.05)
    assert (found.low > 0) == (found.verdict == "better")


def test_nothing_that_differs_is_no_certainty():
    found = compare(*one_fold(np.ones(1000), np.ones(1000)), None, QUIET)
    assert (found.difference, found.p, found.verdict) == (0, 1, "cannot tell")
    assert found.low < -0.001 < 0.001 < found.high
    assert found.more_trainings == math.inf


def test_groups_are_cluster_robust():
    """The variance of a mean over groups of one size, by the groups' means."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 50)
    shift = rng.normal(0, 0.3, 20)[groups]
    a, b = (rng.random(1000) < 0.7 + shift).astype(float), (rng.random(1000) < 0.7).astype(float)
    means = (a - b).reshape(20, 50).mean(1)
    found = compare(*one_fold(a, b), groups, QUIET)
    assert found.standard_error == pytest.approx(stats.sem(means), rel=0.01)
    assert found.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue, rel=0.05)
    assert found.standard_error > 2 * compare(*one_fold(a, b), None, QUIET).standard_error


def test_rows_that_are_validated_twice_count_once():
    """Repeated cross-validation: the same rows in two folds say no more about rows than once."""
    rng = np.random.default_rng(2)
    right = rng.random((2, 600)) < 0.8
    rows = np.arange(600)
    twice = [[Training(fold, 0, rows, r / 600) for fold in (0, 1)] for r in right]
    once = [own[:1] for own in twice]
    assert compare(*twice, None, QUIET).standard_error == pytest.approx(
        compare(*once, None, QUIET).standard_error, rel=0.01
    )


def test_noise_of_trainings_adds_to_the_error_and_seeds_average_it_out():
    rng = np.random.default_rng(3)
    outcomes, _ = made(rng, [0.1, 0.1], folds=3, seeds=2)
    noise = Noise(0.0004, 0.0, 20.0, 1.0)
    calm, noisy = (compare(outcomes[0], outcomes[1], None, n) for n in (QUIET, noise))
    assert noisy.standard_error**2 - calm.standard_error**2 == pytest.approx(2 * 0.0004 / 6)
    assert noisy.p > calm.p


def test_few_degrees_of_freedom_widen_the_interval():
    outcomes, _ = made(np.random.default_rng(4), [0.1, 0.1])
    wide, narrow = (
        compare(outcomes[0], outcomes[1], None, Noise(0.01, 0.0, freedom, 1.0)) for freedom in (2.0, 200.0)
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.standard_error == narrow.standard_error


def test_unknown_noise_tells_nothing():
    a, b = one_fold(np.ones(1000), np.zeros(1000))
    found = compare(a, b, None, training_noise({"a": a, "b": b}))
    assert found.verdict == "cannot tell" and found.high == math.inf and found.more_trainings >= 1


def test_swapping_the_two_flips_the_sign():
    outcomes, groups = made(np.random.default_rng(5), [0.05, 0.15], groups=8)
    noise = training_noise(outcomes, groups)
    there, back = (compare(outcomes[i], outcomes[1 - i], groups, noise) for i in (0, 1))
    assert there.difference == pytest.approx(-back.difference) and there.p == pytest.approx(back.p)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert {there.verdict, back.verdict} in ({"better", "worse"}, {"cannot tell"})


def test_order_of_rows_trainings_and_names_of_groups_do_not_matter():
    rng = np.random.default_rng(6)
    outcomes, groups = made(rng, [0.05, 0.1, 0.1], seeds=2, groups=8)
    noise = training_noise(outcomes, groups)
    first = compare(outcomes[0], outcomes[1], groups, noise)
    mixed = {}
    for name, own in outcomes.items():
        orders = [rng.permutation(len(t.rows)) for t in own]
        mixed[f"c{name}"] = [
            replace(t, rows=t.rows[o], contributions=t.contributions[o])
            for t, o in zip(own, orders, strict=True)
        ][::-1]
    renamed = 1000 - 3 * groups
    again = training_noise(mixed, renamed)
    assert (again.total, again.rows, again.freedom) == pytest.approx((noise.total, noise.rows, noise.freedom))
    second = compare(mixed["c0"], mixed["c1"], renamed, again)
    assert second.p == pytest.approx(first.p) and second.high == pytest.approx(first.high)


def test_only_shared_folds_and_seeds_are_compared():
    outcomes, _ = made(np.random.default_rng(7), [0.1, 0.2], folds=3)
    assert compare(outcomes[0], outcomes[1][:2], None, QUIET).trainings == 2
    with pytest.raises(ValueError, match="share no fold"):
        compare(outcomes[0][:1], outcomes[1][1:], None, QUIET)


def test_other_rows_of_a_fold_are_refused():
    a, b = one_fold(np.ones(10), np.ones(10))
    moved = [replace(b[0], rows=b[0].rows + 1)]
    with pytest.raises(ValueError, match="other rows"):
        compare(a, moved, None, QUIET)


def test_more_trainings_reach_the_error_that_tells():
    noise = Noise(1e-4, 0.0, 1e9, 1.0)
    a, b = one_fold(np.ones(10_000), np.r_[np.zeros(60), np.ones(9940)])
    found = compare(a, b, None, noise)
    assert found.verdict == "cannot tell"
    total = 1 + found.more_trainings
    rows = found.standard_error**2 - 2e-4

    def error(trainings):
        return math.sqrt((rows + 2e-4) / trainings)

    wanted = found.difference / (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    assert error(total) <= wanted < error(total - 1)
    # what further seeds do not average out is too much for this difference
    few = one_fold(np.ones(100), np.r_[np.zeros(3), np.ones(97)])
    assert compare(*few, None, replace(noise, flips=0.0)).more_trainings == math.inf


def test_paired_t_is_scipys():
    rng = np.random.default_rng(8)
    a, b = rng.random(5), rng.random(5)
    found, reference = paired_t(a - b), stats.ttest_rel(a, b)
    interval = reference.confidence_interval()
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert paired_t(np.array([0.1])).verdict == "cannot tell"
    assert paired_t(np.array([0.1, 0.1])).verdict == "better"
    assert paired_t(np.zeros(3)).more_trainings == math.inf


def test_covariance_by_rows_is_what_drawing_rows_anew_gives():
    rng = np.random.default_rng(9)
    population = rng.random((4, 20_000)) < np.array([0.9, 0.9, 0.8, 0.95])[:, None]
    population[1] = population[0] & (rng.random(20_000) < 0.97)  # two that share their errors

    def scores():
        drawn = rng.integers(0, 20_000, 500)
        own = {c: [Training(0, 0, np.arange(500), population[c, drawn] / 500)] for c in range(4)}
        table = tabulate(own, None)
        return table.scores, row_covariance(table)

    seen = [scores() for _ in range(600)]
    expected = np.cov(np.array([s for s, _ in seen]).T)
    assert np.mean([c for _, c in seen], axis=0) == pytest.approx(expected, abs=0.12 * expected.max())


@pytest.mark.parametrize("groups", [0, 8])
def test_false_verdicts_are_rare_and_large_gains_are_found(groups):
    rng = np.random.default_rng(10)
    false = found = 0
    for _ in range(200):
        outcomes, by = made(rng, [0.1, 0.1, 0.2, 0.1], rows=400, noise=0.02, groups=groups)
        noise = training_noise(outcomes, by)
        false += compare(outcomes[0], outcomes[1], by, noise).verdict != "cannot tell"
        found += compare(outcomes[0], outcomes[2], by, noise).verdict == "better"
    assert false <= 20  # 10 expected, standard deviation 3.1
    assert found >= 150
