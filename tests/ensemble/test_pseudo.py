"""Which unlabelled images become pseudo-labels: by hand, and what holds whatever the vote says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_digits.config import Ensemble
from tune_digits.ensemble.pseudo import Rule, rule_of, select_pseudo

HEADS = (slice(0, 2), slice(2, 4))
ONE = (slice(0, 2),)
VOTE = np.array([[0.97, 0.03], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6], [0.01, 0.99]])


def answers(*proba: np.ndarray, heads: tuple[slice, ...] = ONE) -> np.ndarray:
    """What members with these probabilities answer: int64 (M, N, T)."""
    return np.stack([np.stack([p[:, h].argmax(1) for h in heads], axis=1) for p in proba])


def chosen(rule: Rule, *members: np.ndarray) -> list[int]:
    return select_pseudo(VOTE, answers(*(members or (VOTE,))), ONE, rule)[0].tolist()


def test_pseudo_labels_are_the_sure_ones_of_every_head() -> None:
    proba = np.array(
        [[0.97, 0.03, 0.99, 0.01], [0.97, 0.03, 0.6, 0.4], [0.02, 0.98, 0.05, 0.95], [0.5, 0.5, 0, 1]]
    )
    said = answers(proba, heads=HEADS)
    rows, targets = select_pseudo(proba, said, HEADS, Rule(0.95))
    assert rows.tolist() == [0, 2]
    assert targets.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert targets.dtype == np.float32
    rows, targets = select_pseudo(proba, said, HEADS, Rule(1.0))
    assert rows.size == 0
    assert targets.shape == (0, 4)
    for wrong in (Rule(0), Rule(0.5, quantile=0), Rule(1.1)):
        with pytest.raises(ValueError, match="0, 1"):
            select_pseudo(proba, said, HEADS, wrong)


def test_a_quantile_keeps_the_surest_of_each_answer() -> None:
    assert chosen(Rule(0.01)) == [0, 1, 2, 3, 4, 5]
    assert chosen(Rule(0.01, quantile=0.5)) == [0, 1, 5]
    assert chosen(Rule(0.01, quantile=0.6)) == [0, 1, 2, 4, 5]  # of 2.4 and 1.2 images, rounded up
    assert chosen(Rule(0.95, quantile=0.6)) == [0, 5]


def test_a_cap_leaves_the_surest_of_each_class_in_every_head() -> None:
    assert chosen(Rule(0.01, cap=1)) == [0, 5]
    assert chosen(Rule(0.01, cap=2)) == [0, 1, 4, 5]
    proba = np.array([[0.9, 0.1, 0.9, 0.1], [0.8, 0.2, 0.2, 0.8], [0.3, 0.7, 0.9, 0.1], [0.3, 0.7, 0.1, 0.9]])
    # the first takes a place in both of its classes, so that only the last has two free ones
    assert select_pseudo(proba, answers(proba, heads=HEADS), HEADS, Rule(0.5, cap=1))[0].tolist() == [0, 3]


def test_all_members_must_agree_with_the_vote() -> None:
    other = VOTE.copy()
    other[1] = [0.2, 0.8]
    assert chosen(Rule(0.5, agree=True), VOTE, other) == [0, 2, 3, 4, 5]
    assert chosen(Rule(0.5), VOTE, other) == [0, 1, 2, 3, 4, 5]


def test_soft_labels_are_the_votes_probabilities() -> None:
    rows, targets = select_pseudo(VOTE, answers(VOTE), ONE, Rule(0.85, soft=True))
    np.testing.assert_array_equal(targets, VOTE[rows].astype(np.float32))
    assert targets.dtype == np.float32


def test_the_rule_is_that_of_the_study() -> None:
    assert rule_of(Ensemble(pseudo=None)) is None
    assert rule_of(Ensemble()) == Rule(0.95)
    plan = Ensemble(
        pseudo=0.8, pseudo_quantile=0.5, pseudo_agree=True, pseudo_cap=9, pseudo_soft=True, pseudo_rounds=2
    )
    assert rule_of(plan) == Rule(0.8, 0.5, True, 9, True)


rules = st.builds(
    Rule,
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.booleans(),
    st.none() | st.integers(1, 20),
    st.booleans(),
)


@given(rules, st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_what_holds_for_every_rule(rule: Rule, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = rng.dirichlet(np.ones(2), (3, count, 2)).reshape(3, count, 4)
    vote, said = members.mean(0), answers(*members, heads=HEADS)
    rows, targets = select_pseudo(vote, said, HEADS, rule)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert targets.shape == (len(rows), 4)
    for head in HEADS:
        assert targets[:, head].sum(1) == pytest.approx(np.ones(len(rows)), abs=1e-6)
        np.testing.assert_array_equal(targets[:, head].argmax(1), vote[rows][:, head].argmax(1))
        assert (vote[rows][:, head].max(1) >= rule.cut).all()
        found = np.bincount(targets[:, head].argmax(1), minlength=2)
        assert rule.cap is None or found.max() <= rule.cap
        of_all = np.bincount(vote[:, head].argmax(1), minlength=2)
        assert all(n <= math.ceil(rule.quantile * m) for n, m in zip(found, of_all, strict=True))
    # a stricter cut chooses among the same images, and the order of members is nothing
    stricter = Rule(min(rule.cut + 0.1, 1.0), rule.quantile, rule.agree, None, rule.soft)
    looser = Rule(rule.cut, rule.quantile, rule.agree, None, rule.soft)
    strict_rows = select_pseudo(vote, said, HEADS, stricter)[0]
    assert set(strict_rows) <= set(select_pseudo(vote, said, HEADS, looser)[0])
    assert select_pseudo(vote, said[::-1], HEADS, rule)[0].tolist() == rows.tolist()
