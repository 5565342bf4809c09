"""What votes learn: against an exhaustive search, an optimality condition, scikit-learn, or by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tune_digits.ensemble.vote import Ballot, cast, shifted
from tune_digits.ensemble.vote_fit import (
    FITS,
    Seen,
    fit_greedy,
    fit_offsets,
    fit_stacked,
    fit_weighted,
    row_weights,
)
from tune_digits.learn.metrics import ACCURACY, Metric, score

HEADS = (slice(0, 3), slice(3, 5))
RECALL = Metric("macro_recall")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def seen(skills: list[float], rows: int = 400, seed: int = 0, heads: tuple[slice, ...] = HEADS) -> Seen:
    """Configurations with noise of their own on what they see of the truth; a higher skill sees more."""
    own = rng(seed)
    labels = np.stack([own.integers(0, h.stop - h.start, rows) for h in heads], axis=1)
    parts = []
    for t, head in enumerate(heads):
        truth = np.eye(head.stop - head.start)[labels[:, t]]
        logits = np.stack([skill * truth + own.normal(size=truth.shape) for skill in skills])
        parts.append(np.exp(logits) / np.exp(logits).sum(2, keepdims=True))
    return Seen(np.concatenate(parts, axis=2), labels, np.arange(rows))


def log_loss(weights: np.ndarray, given: Seen, target: int, rows: np.ndarray) -> float:
    mean = np.tensordot(weights, given.proba[:, :, HEADS[target]], axes=1)
    return -float(rows @ np.log(mean[np.arange(len(mean)), given.labels[:, target]]))


@pytest.mark.parametrize("name", FITS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_order_of_configurations_permutes_what_is_learnt(name: str, seed: int) -> None:
    given_ = seen([2.0, 1.0, 1.5], 120, seed)
    order = [2, 0, 1]
    moved = Seen(given_.proba[order], given_.labels, given_.units)
    one, other = (FITS[name](s, HEADS, ACCURACY, rng()) for s in (given_, moved))
    assert cast(moved.proba, HEADS, other) == pytest.approx(cast(given_.proba, HEADS, one), abs=1e-3)


@pytest.mark.parametrize("name", ["weighted", "greedy"])
def test_weights_lie_on_the_simplex_and_one_configuration_has_all(name: str) -> None:
    found = FITS[name](seen([2.0, 1.0, 0.0]), HEADS, ACCURACY, rng())
    assert found.rule == name and len(found.weights) == 2
    for own in found.weights:
        assert min(own) >= 0 and sum(own) == pytest.approx(1)
        assert own[0] > own[2]
    assert FITS[name](seen([1.0]), HEADS, ACCURACY, rng()).weights == ((1.0,), (1.0,))


@pytest.mark.parametrize("metric", [ACCURACY, RECALL, Metric("macro_f1")], ids=lambda m: m.name)
def test_weighted_has_the_least_log_loss_of_all_weights(metric: Metric) -> None:
    given_ = seen([1.5, 1.0, 0.2], 200)
    given_.labels[given_.labels[:, 0] == 2, 0] = 1  # classes are uneven
    found = fit_weighted(given_, HEADS, metric, rng())
    steps = np.linspace(0, 1, 21)
    grid = [np.array([a, b, 1 - a - b]) for a, b in product(steps, steps) if a + b <= 1 + 1e-9]
    for target in range(2):
        rows = row_weights(metric, given_.labels[:, target])
        best = min(log_loss(w, given_, target, rows) for w in grid)
        assert log_loss(np.array(found.weights[target]), given_, target, rows) <= best + 2e-5


def test_rows_weigh_as_in_the_metric() -> None:
    labels = np.array([0, 0, 0, 1])
    assert row_weights(ACCURACY, labels) == pytest.approx(np.full(4, 0.25))
    assert row_weights(RECALL, labels) == pytest.approx(np.array([1, 1, 1, 3]) / 6)
    assert row_weights(Metric("macro_f1"), labels) == pytest.approx(np.full(4, 0.25))
    # of two configurations, each knows one class: the metric decides which counts more
    proba = np.array([[[0.9, 0.1]] * 4, [[0.1, 0.9]] * 4])
    given_ = Seen(proba, labels[:, None], np.arange(4))
    heads = (slice(0, 2),)
    ((plain, _),) = fit_weighted(given_, heads, ACCURACY, rng()).weights
    ((even, _),) = fit_weighted(given_, heads, RECALL, rng()).weights
    assert plain > 0.8 and even == pytest.approx(0.5, abs=1e-3)


def test_greedy_takes_what_makes_the_metric_best() -> None:
    """B alone is worse than A, but right where A is wrong: their mean is right everywhere. C adds nothing."""
    labels = np.array([[0]] * 20)
    a = np.array([[0.9, 0.1]] * 12 + [[0.45, 0.55]] * 8)
    b = np.array([[0.4, 0.6]] * 12 + [[0.9, 0.1]] * 8)
    c = np.array([[0.2, 0.8]] * 20)
    given_ = Seen(np.stack([a, b, c]), labels, np.arange(20))
    heads = (slice(0, 2),)
    (weights,) = fit_greedy(given_, heads, ACCURACY, rng()).weights
    assert weights[2] == 0 and min(weights[:2]) > 0.1
    voted = cast(given_.proba, heads, Ballot("greedy", (weights,)))
    assert score(ACCURACY, voted, labels, heads) == 1


def test_greedy_optimises_the_metric_of_the_task() -> None:
    """A is right on the frequent class alone, B on 80 % of each: accuracy prefers A, macro recall B."""
    labels = np.array([0] * 90 + [1] * 10)
    sure = np.eye(2) * 0.98 + 0.01
    a = sure[np.zeros(100, int)]
    right = np.arange(100) % 10 < 8
    b = sure[np.where(right, labels, 1 - labels)]
    given_ = Seen(np.stack([a, b]), labels[:, None], np.arange(100))
    heads = (slice(0, 2),)
    (by_accuracy,) = fit_greedy(given_, heads, ACCURACY, rng()).weights
    (by_recall,) = fit_greedy(given_, heads, RECALL, rng()).weights
    assert by_accuracy[0] > 0.5 > by_recall[0]


def test_greedy_draws_units_together_and_is_deterministic() -> None:
    given_ = seen([1.0, 0.9], 200)
    by_row = fit_greedy(given_, HEADS, ACCURACY, rng(1))
    assert by_row == fit_greedy(given_, HEADS, ACCURACY, rng(1))
    one_unit = Seen(given_.proba, given_.labels, np.zeros(200, np.int64))
    # every bag is then the whole
    whole = [fit_greedy(one_unit, HEADS, ACCURACY, rng(s)) for s in (1, 2)]
    assert whole[0] == whole[1] != by_row


@pytest.mark.parametrize("metric", [ACCURACY, RECALL], ids=lambda m: m.name)
def test_stacked_is_scikit_learns_regression_also_of_two_classes(metric: Metric) -> None:
    given_ = seen([1.5, 1.0], 300)
    voted = cast(given_.proba, HEADS, fit_stacked(given_, HEADS, metric, rng()))
    for target, head in enumerate(HEADS):
        features = np.concatenate([np.log(p[:, head]) for p in given_.proba], axis=1)
        labels = given_.labels[:, target]
        own = row_weights(metric, labels) * len(labels)
        expected = (
            LogisticRegression(max_iter=5000).fit(features, labels, sample_weight=own).predict_proba(features)
        )
        assert voted[:, head] == pytest.approx(expected, abs=1e-6)


def test_stacked_never_answers_a_class_that_it_has_not_seen() -> None:
    given_ = seen([1.5, 1.0], 100)
    given_.labels[given_.labels[:, 0] == 1, 0] = 0
    given_.labels[:, 1] = 1
    voted = cast(given_.proba, HEADS, fit_stacked(given_, HEADS, ACCURACY, rng()))
    assert voted[:, 1].max() < 1e-6 and voted[:, 4] == pytest.approx(np.ones(100))
    assert set(voted[:, :3].argmax(1)) == {0, 2}


def test_offsets_favour_rare_classes_where_that_serves_the_metric() -> None:
    own = rng(3)
    labels = (own.random(2000) < 0.1).astype(int)
    logit = 2 * (labels - 0.5) + own.normal(size=2000) + np.log(0.1 / 0.9)  # calibrated
    proba = np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)
    heads = (slice(0, 2),)
    found = fit_offsets(proba, labels[:, None], heads, RECALL)
    after, before = (score(RECALL, p, labels[:, None], heads) for p in (shifted(proba, heads, found), proba))
    assert found[1] > found[0] and after > before + 0.05
    # -t log(frequency), for one t
    frequencies = np.bincount(labels) / 2000
    assert found / -np.log(frequencies) == pytest.approx(np.full(2, found[1] / -np.log(frequencies[1])))
    assert 0 < found[1] / -np.log(frequencies[1]) <= 1.5
    # accuracy is best as it is, and the least t is taken
    even = np.array([[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_array_equal(fit_offsets(even, np.array([[0], [1]]), heads, ACCURACY), [0, 0])
