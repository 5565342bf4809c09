"""The variance of training shifts, from trainings whose shifts are known."""

import numpy as np
import pytest
from made_outcomes import made

from tune_digits.stats.noise import training_noise
from tune_digits.stats.outcomes import Training


@pytest.mark.parametrize(("seeds", "groups"), [(1, 0), (2, 0), (1, 10)])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_it_is_found_on_average(seeds, groups, noise):
    rng = np.random.default_rng(0)
    seen = [
        training_noise(*made(rng, [0.2, 0.25, 0.3, 0.2], seeds=seeds, noise=noise, groups=groups))
        for _ in range(150)
    ]
    unclipped = np.array([n.total - n.rows for n in seen])
    error = unclipped.std() / len(seen) ** 0.5
    assert unclipped.mean() == pytest.approx(noise**2, abs=3.5 * error)
    assert min(n.variance for n in seen) >= 0


def test_without_rows_part_it_is_the_two_way_mean_square():
    """Every image of a training alike: only shifts are left, and the mean square of what two effects leave."""
    rng = np.random.default_rng(1)
    scores = rng.random((4, 3))
    outcomes = {
        c: [Training(f, 0, np.arange(50) + 50 * f, np.full(50, scores[c, f] / 50)) for f in range(3)]
        for c in range(4)
    }
    left = scores - scores.mean(0) - scores.mean(1)[:, None] + scores.mean()
    noise = training_noise(outcomes)
    assert noise.total == pytest.approx((left**2).sum() / 6)
    assert noise.rows == pytest.approx(0, abs=1e-20) and noise.freedom == pytest.approx(6)


def test_what_all_share_in_a_fold_and_seed_is_no_noise():
    rng = np.random.default_rng(2)
    outcomes, _ = made(rng, [0.2, 0.3, 0.3], noise=0.02, seeds=2)
    shifted = {
        name: [
            Training(t.fold, t.seed, t.rows, t.contributions + 0.1 * (t.fold + 3 * t.seed) / len(t.rows))
            for t in own
        ]
        for name, own in outcomes.items()
    }
    assert training_noise(shifted).total == pytest.approx(training_noise(outcomes).total)


def test_missing_trainings_are_no_obstacle():
    outcomes, _ = made(np.random.default_rng(3), [0.2, 0.3, 0.3], noise=0.02)
    outcomes[1] = outcomes[1][:1]
    noise = training_noise(outcomes)
    assert noise.freedom == pytest.approx(2, abs=0.5) and noise.total > 0


def test_one_configuration_or_one_fold_says_nothing():
    outcomes, _ = made(np.random.default_rng(4), [0.2, 0.3], noise=0.02)
    assert training_noise({0: outcomes[0]}).freedom == 0
    assert training_noise({c: own[:1] for c, own in outcomes.items()}).freedom == 0


def test_flips_are_measured_where_there_are_two_seeds():
    """Seeds of one configuration that agree on every image: nothing that further seeds would average out."""
    rng = np.random.default_rng(5)
    outcomes, _ = made(rng, [0.2, 0.2])
    same = {
        c: own + [Training(t.fold, 1, t.rows, t.contributions) for t in own] for c, own in outcomes.items()
    }
    assert training_noise(same).flips == 0
    independent, _ = made(rng, [0.2, 0.2], seeds=2)
    assert training_noise(independent).flips == pytest.approx(1, abs=0.1)
    single, groups = made(rng, [0.2, 0.2], groups=4)
    assert training_noise(single).flips == 1
    assert training_noise(single, groups).flips < 0.9
