from typing import get_args

import numpy as np
import pytest
from sklearn import metrics as reference

from tune_digits.config import Cv
from tune_digits.data.dataset import Target
from tune_digits.errors import ConfigError
from tune_digits.learn.metrics import METRICS, Metric, metric_of, score

HEADS = (slice(0, 5), slice(5, 8), slice(8, 10))


def some(seed=0, count=200):
    """Probabilities (N, K) that are right more often than not, and skewed labels (N, T)."""
    rng = np.random.default_rng(seed)
    sizes = [h.stop - h.start for h in HEADS]
    labels = np.stack([np.minimum(rng.geometric(0.5, count) - 1, k - 1) for k in sizes], axis=1)
    proba = rng.random((count, sum(sizes)))
    for column, head in enumerate(HEADS):
        proba[np.arange(count), head.start + labels[:, column]] += 0.5
        proba[:, head] /= proba[:, head].sum(1, keepdims=True)
    return proba, labels


def predictions(proba):
    return [proba[:, h].argmax(1) for h in HEADS]


def test_metrics_are_those_of_the_configuration():
    assert set(METRICS) == set(get_args(Cv.model_fields["score"].annotation))


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_scikit_learns(seed):
    proba, labels = some(seed)
    each = [reference.accuracy_score(labels[:, t], p) for t, p in enumerate(predictions(proba))]
    assert score(Metric(), proba[:, HEADS[0]], labels[:, :1], HEADS[:1]) == pytest.approx(each[0])
    assert score(Metric("accuracy"), proba, labels, HEADS) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("seed", range(3))
def test_macro_recall_is_scikit_learns(seed):
    proba, labels = some(seed)
    each = [
        reference.recall_score(labels[:, t], p, average="macro") for t, p in enumerate(predictions(proba))
    ]
    assert score(Metric("macro_recall"), proba, labels, HEADS) == pytest.approx(np.mean(each))
    bengali = np.average(each, weights=(2, 1, 1))
    assert score(Metric("macro_recall", (2, 1, 1)), proba, labels, HEADS) == pytest.approx(bengali)


@pytest.mark.parametrize("seed", range(3))
def test_macro_f1_is_scikit_learns(seed):
    proba, labels = some(seed)
    labels[labels[:, 0] == 4, 0] = 0  # a class that is only predicted
    assert (proba[:, HEADS[0]].argmax(1) == 4).any()
    each = [reference.f1_score(labels[:, t], p, average="macro") for t, p in enumerate(predictions(proba))]
    assert score(Metric("macro_f1"), proba, labels, HEADS) == pytest.approx(np.mean(each))


def test_weights_are_named_by_target_and_stand_in_its_order():
    targets = (Target("root", ("a", "b")), Target("vowel", ("c", "d")), Target("consonant", ("e",)))
    assert metric_of(Cv(), targets) == Metric("accuracy", None)
    weights = {"vowel": 1, "consonant": 1.5, "root": 2}
    assert metric_of(Cv(score="macro_recall", score_weights=weights), targets) == Metric(
        "macro_recall", (2, 1, 1.5)
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"roots": 2, "vowel": 1}, "'roots' is no target.*root, vowel"), ({"root": 2}, "every target")],
)
def test_weights_that_do_not_fit_the_targets_are_refused(weights, message):
    targets = (Target("root", ("a", "b")), Target("vowel", ("c", "d")))
    with pytest.raises(ConfigError, match=message):
        metric_of(Cv(score_weights=weights), targets)


def test_macro_recall_leaves_out_classes_without_samples():
    labels, predicted = np.array([0, 0, 3, 3]), np.array([0, 1, 3, 3])
    proba = np.eye(5)[predicted]
    expected = reference.recall_score(labels, predicted, average="macro", zero_division=np.nan)
    assert score(Metric("macro_recall"), proba, labels[:, None], HEADS[:1]) == pytest.approx(expected) == 0.75


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_1_at_best_and_0_at_worst(name):
    _, labels = some()
    right = np.concatenate([np.eye(h.stop - h.start)[labels[:, t]] for t, h in enumerate(HEADS)], axis=1)
    assert score(Metric(name), right, labels, HEADS) == 1.0
    wrong = np.concatenate([np.roll(right[:, h], 1, axis=1) for h in HEADS], axis=1)
    value = score(Metric(name), wrong, labels, HEADS)
    assert value == 0.0 and isinstance(value, float)
