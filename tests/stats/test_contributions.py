"""Contributions sum to the score that the learning room computes."""

import doctest

import numpy as np
import pytest

from tune_digits.learn.metrics import METRICS, Metric, score
from tune_digits.stats import contributions as module
from tune_digits.stats import ranks, selection, worst
from tune_digits.stats.contributions import NotASum, contributions, image_weights

HEADS = (slice(0, 5), slice(5, 8), slice(8, 10))


def some(seed, count=300):
    rng = np.random.default_rng(seed)
    sizes = [h.stop - h.start for h in HEADS]
    labels = np.stack([np.minimum(rng.geometric(0.5, count) - 1, k - 1) for k in sizes], axis=1)
    return rng.random((count, 10)), labels


@pytest.mark.parametrize("weights", [None, (2.0, 1.0, 1.0)])
@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"macro_f1"}))
def test_the_sum_is_the_score(metric, weights):
    proba, labels = some(1)
    labels[labels == 3] = 2  # a class that does not occur
    added = contributions(metric, weights, proba, labels, HEADS)
    assert added.shape == (300,) and added.dtype == np.float64
    assert added.sum() == pytest.approx(score(Metric(metric, weights), proba, labels, HEADS), abs=1e-12)
    most = image_weights(metric, weights, labels)
    assert most.shape == (300, 3) and most.sum() == pytest.approx(1)
    assert (added <= most.sum(1) + 1e-15).all()


def test_macro_f1_is_no_sum():
    proba, labels = some(2)
    with pytest.raises(NotASum, match="macro_f1"):
        contributions("macro_f1", None, proba, labels, HEADS)


@pytest.mark.parametrize("each", [module, ranks, selection, worst], ids=lambda m: m.__name__)
def test_examples_in_docstrings(each):
    result = doctest.testmod(each)
    assert result.attempted > 0 and result.failed == 0
