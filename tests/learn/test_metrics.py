from typing import get_args

import numpy as np
import pytest
from sklearn import metrics as reference

from tune_digits.config import Cv
from tune_digits.learn.metrics import METRICS, score

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
    assert score("accuracy", proba[:, HEADS[0]], labels[:, :1], HEADS[:1]) == pytest.approx(each[0])
    assert score("accuracy", proba, labels, HEADS) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("seed", range(3))
def test_macro_recall_is_scikit_learns(seed):
    proba, labels = some(seed)
    each = [
        reference.recall_score(labels[:, t], p, average="macro") for t, p in enumerate(predictions(proba))
    ]
    assert score("macro_recall", proba, labels, HEADS) == pytest.approx(np.mean(each))
    bengali = np.average(each, weights=(2, 1, 1))
    assert score("macro_recall", proba, labels, HEADS, weights=(2, 1, 1)) == pytest.approx(bengali)


def test_macro_recall_leaves_out_classes_without_samples():
    labels, predicted = np.array([0, 0, 3, 3]), np.array([0, 1, 3, 3])
    proba = np.eye(5)[predicted]
    expected = reference.recall_score(labels, predicted, average="macro", zero_division=np.nan)
    assert score("macro_recall", proba, labels[:, None], HEADS[:1]) == pytest.approx(expected) == 0.75


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_1_at_best_and_0_at_worst(name):
    _, labels = some()
    right = np.concatenate([np.eye(h.stop - h.start)[labels[:, t]] for t, h in enumerate(HEADS)], axis=1)
    assert score(name, right, labels, HEADS) == 1.0
    wrong = np.concatenate([np.roll(right[:, h], 1, axis=1) for h in HEADS], axis=1)
    value = score(name, wrong, labels, HEADS)
    assert value == 0.0 and isinstance(value, float)
