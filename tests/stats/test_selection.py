"""Shrinkage and the corrected score of a winner."""

import numpy as np
import pytest
from made_outcomes import made

from tune_digits.stats.noise import Noise, training_noise
from tune_digits.stats.selection import bootstrap_corrected, candidates, corrected_score, shrunk


def test_with_equal_errors_the_spread_is_the_variance_less_the_errors():
    means = np.array([0.90, 0.93, 0.97, 0.95])
    found = shrunk(means, np.full(4, 0.01))
    spread = means.var(ddof=1) - 0.01**2
    assert found.spread**2 == pytest.approx(spread)
    assert found.means == pytest.approx(
        means.mean() + spread / (spread + 0.01**2) * (means - means.mean()), abs=1e-9
    )


def test_spread_that_noise_explains_is_shrunk_away_and_no_noise_shrinks_nothing():
    means = np.array([0.98, 0.981, 0.979])
    assert shrunk(means, np.full(3, 0.01)).means == pytest.approx(np.full(3, 0.98))
    assert (shrunk(means, np.zeros(3)).means == means).all()
    assert shrunk(means[:1], np.array([0.1])).means == pytest.approx(means[:1])


def test_the_less_certain_is_shrunk_more():
    found = shrunk(np.array([0.99, 0.90, 0.93, 0.99]), np.array([0.01, 0.02, 0.02, 0.05]))
    assert found.means[0] > found.means[3]


def test_shrinking_beats_the_means_and_its_errors_are_right():
    rng = np.random.default_rng(0)
    raw = better = 0.0
    ratios = []
    for _ in range(400):
        truth = rng.normal(0.9, 0.01, 8)
        seen = truth + rng.normal(0, 0.01, 8)
        found = shrunk(seen, np.full(8, 0.01))
        raw += ((seen - truth) ** 2).sum()
        better += ((found.means - truth) ** 2).sum()
        ratios.append(((found.means - truth) ** 2).mean() / (found.errors**2).mean())
    assert better < 0.75 * raw
    assert np.median(ratios) == pytest.approx(1, abs=0.4)


def test_the_error_knows_that_the_spread_is_estimated():
    """All spread explained by noise: the furthest candidate is the least certain."""
    found = shrunk(np.array([0.98, 0.982, 0.979]), np.full(3, 0.01))
    centre = 0.01 / 3**0.5
    assert found.errors**2 == pytest.approx(centre**2 + (found.means - [0.98, 0.982, 0.979]) ** 2, rel=1e-6)


def test_candidates_of_a_full_table_have_plain_means():
    outcomes, groups = made(np.random.default_rng(1), [0.1, 0.2, 0.15], seeds=2, groups=8)
    found = candidates(outcomes, groups, Noise(0.0, 0.0, 1.0, 1.0))
    plain = [np.mean([t.contributions.sum() for t in own]) for own in outcomes.values()]
    assert found.means == pytest.approx(plain) and found.names == [0, 1, 2]
    assert found.freedom == 3 * 7


def test_a_candidate_that_was_only_tried_on_an_easy_fold_is_no_better_for_it():
    outcomes, _ = made(np.random.default_rng(2), [0.1, 0.1], rows=4000)
    for own in outcomes.values():
        easy = own[0]
        easy.contributions[:] = (np.arange(4000) % 100 != 0) / 4000
    outcomes[1] = outcomes[1][:1]
    means = candidates(outcomes, None, Noise(0.0, 0.0, 1.0, 1.0)).means
    assert means[1] == pytest.approx(means[0], abs=1e-9)


def test_bootstrap_of_one_configuration_is_its_score():
    right = (np.random.default_rng(3).random((1, 2000)) < 0.9).astype(float)
    found = bootstrap_corrected(right, np.ones(2000), None, np.random.default_rng(0), 200)
    assert found.naive == right.mean() and found.score == pytest.approx(found.naive, abs=0.002)


def test_bootstrap_takes_off_what_choosing_added():
    rng = np.random.default_rng(4)
    naive, corrected = [], []
    for _ in range(30):
        right = (rng.random((10, 600)) < 0.9).astype(float)
        found = bootstrap_corrected(right, np.ones(600), None, rng, 100)
        naive.append(found.naive - 0.9)
        corrected.append(found.score - 0.9)
    assert np.mean(naive) > 0.015
    assert abs(np.mean(corrected)) < 0.006


def test_bootstrap_draws_groups():
    """Rows of a group alike: by groups the interval is as wide as the few groups make it."""
    rng = np.random.default_rng(5)
    right = np.repeat(rng.random((2, 20)) < 0.7, 50, axis=1).astype(float)
    groups = np.repeat(np.arange(20), 50)
    wide = bootstrap_corrected(right, np.ones(1000), groups, rng, 200)
    narrow = bootstrap_corrected(right, np.ones(1000), None, rng, 200)
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)


def test_the_corrected_score_covers_the_truth_and_has_little_bias():
    rng = np.random.default_rng(6)
    off, held, naive = [], [], []
    for _ in range(150):
        outcomes, _ = made(rng, [0.1] * 6, rows=400, noise=0.01)
        found = corrected_score(outcomes, None, training_noise(outcomes))
        off.append(found.score - 0.9)
        naive.append(found.naive - 0.9)
        held.append(found.low <= 0.9 <= found.high)
    assert np.mean(naive) > 0.008 and abs(np.mean(off)) < 0.004
    assert 0.88 <= np.mean(held) <= 1


def test_a_failed_candidate_does_not_flatter_the_winner():
    rng = np.random.default_rng(7)
    outcomes, _ = made(rng, [0.1] * 6 + [0.9], rows=400, noise=0.01)
    noise = Noise(3e-4, 2e-4, 10.0, 1.0)
    with_it = corrected_score(outcomes, None, noise)
    del outcomes[6]
    assert with_it.score == pytest.approx(corrected_score(outcomes, None, noise).score, abs=0.003)


def test_the_score_of_a_named_configuration_is_its_own():
    outcomes, groups = made(np.random.default_rng(3), [0.10, 0.10, 0.30], rows=2000, noise=0.002)
    noise = training_noise(outcomes, groups)
    means = candidates(outcomes, groups, noise).means
    best = corrected_score(outcomes, groups, noise)
    assert corrected_score(outcomes, groups, noise, best.winner) == best
    other = corrected_score(outcomes, groups, noise, 1 - best.winner)
    assert other.winner == 1 - best.winner and other.naive == pytest.approx(means[1 - best.winner])
    assert best.score <= best.naive and other.naive <= other.score <= best.score
    last = corrected_score(outcomes, groups, noise, 2)  # too far behind to be drawn to the others
    assert last.score == pytest.approx(means[2], abs=0.005) and last.low < 0.70 < last.high
