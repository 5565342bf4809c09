"""A declared distribution of classes, by hand and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_digits.ensemble.balance import METHODS, rows_with_priors, sinkhorn_offsets
from tune_digits.ensemble.vote import shifted

HEADS = (slice(0, 3),)


def test_bayes_rule_for_other_priors_by_hand() -> None:
    """A classifier of classes with frequencies 0.8 and 0.2, on images of which half are of each."""
    offsets = METHODS["prior"](np.zeros((1, 2)), np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    # likelihood ratio 1 : 1 is 0.8 in training and must become 0.5
    assert shifted(np.array([[0.8, 0.2]]), (slice(0, 2),), offsets) == pytest.approx(np.array([[0.5, 0.5]]))


@given(seed=st.integers(0, 1000))
def test_sinkhorn_gives_each_class_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    voted, priors = rng.dirichlet(np.ones(3), 50), rng.dirichlet(np.full(3, 5.0))
    offsets = sinkhorn_offsets(voted, priors, np.ones(3))
    found = shifted(voted, HEADS, offsets)
    assert found.mean(0) == pytest.approx(priors, abs=1e-4)
    assert found.sum(1) == pytest.approx(np.ones(50))
    # what has its shares already stays
    assert sinkhorn_offsets(found, found.mean(0), np.ones(3)) == pytest.approx(np.zeros(3), abs=1e-9)


def test_rows_are_drawn_at_random_with_the_declared_distribution() -> None:
    labels = np.array([0] * 50 + [1] * 30 + [2] * 10)
    for priors, expected in (
        ([1 / 3] * 3, [10, 10, 10]),
        ([0.5, 0.4, 0.1], [37, 30, 7]),
        ([0.1, 0.1, 0.8], [1, 1, 10]),
    ):
        rows = rows_with_priors(labels, np.array(priors), np.random.default_rng(0))
        assert np.bincount(labels[rows]).tolist() == expected
        assert (np.diff(rows) > 0).all()
    first, second = (rows_with_priors(labels, np.full(3, 1 / 3), np.random.default_rng(s)) for s in (0, 1))
    assert first.tolist() != second.tolist()
    assert len(rows_with_priors(labels[:80], np.full(3, 1 / 3), np.random.default_rng(0))) == 0
