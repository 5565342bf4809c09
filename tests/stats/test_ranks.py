"""Holm's correction, rank correlations of few pairs, the worst tenth of groups."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tune_digits.stats.ranks import holm, spearman_interval
from tune_digits.stats.worst import worst_tenth


def test_holm_rejects_step_by_step():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = 0.04 * rng.random(6)
        adjusted = holm(p)
        rejected = set()
        for step, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (6 - step):
                break
            rejected.add(place)
        assert set(np.flatnonzero(adjusted <= 0.05)) == rejected
        assert (adjusted >= p).all() and (adjusted <= 1).all()
    assert len(holm([])) == 0


@pytest.mark.parametrize("pairs", [4, 6, 12])
def test_rho_is_scipys_and_p_that_of_all_permutations(pairs):
    rng = np.random.default_rng(pairs)
    x, y = rng.random(pairs), rng.integers(0, 4, pairs).astype(float)
    found = spearman_interval(x, y, rng)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert -1 <= found.low <= found.rho <= found.high <= 1
    if pairs == 4:
        every = [abs(stats.spearmanr(x, p).statistic) for p in itertools.permutations(y)]
        assert found.p == pytest.approx(np.mean(np.array(every) >= abs(found.rho) - 1e-9))


@pytest.mark.parametrize("pairs", [4, 6, 10])
@pytest.mark.parametrize("true", [0.0, 0.7])
def test_the_interval_covers(pairs, true):
    rng = np.random.default_rng(1)
    rank_true = 6 / np.pi * np.arcsin(true / 2)
    held = 0
    for _ in range(150):
        x = rng.normal(size=pairs)
        y = true * x + (1 - true**2) ** 0.5 * rng.normal(size=pairs)
        found = spearman_interval(x, y, rng)
        held += found.low <= rank_true <= found.high
    assert held >= 0.9 * 150


def test_a_perfect_order_of_four_is_no_certainty():
    found = spearman_interval(np.arange(4.0), np.arange(4.0), np.random.default_rng(0))
    assert found.rho == 1 and found.low < 0 and found.p == pytest.approx(2 / 24)


def test_nothing_is_said_of_three_pairs_or_a_constant():
    found = spearman_interval(np.arange(3.0), np.arange(3.0), np.random.default_rng(0))
    assert (found.low, found.high) == (-1, 1)
    assert np.isnan(spearman_interval(np.arange(5.0), np.ones(5), np.random.default_rng(0)).rho)


def test_the_worst_tenth_of_groups():
    groups = np.repeat(np.arange(20), [5, 10] * 10)
    right = np.ones(len(groups))
    right[groups == 3] = [0] * 6 + [1] * 4  # 0.4
    right[groups == 6] = [0, 1, 1, 1, 1]  # 0.8
    assert worst_tenth(right, np.ones(len(right)), groups) == pytest.approx(0.6)
    assert worst_tenth(right, np.ones(len(right)), groups * 7 - 100) == pytest.approx(0.6)
    few = groups < 5
    assert worst_tenth(right[few], np.ones(few.sum()), groups[few]) == pytest.approx(0.4)
    assert worst_tenth(right / 150, np.full(len(right), 1 / 150), groups) == pytest.approx(0.6)
