"""Voting, each against what it should be by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tune_digits.config import Ensemble
from tune_digits.ensemble.vote import VOTES, agreement, hard_vote, labels_of, most_disputed, soft_vote

HEADS = (slice(0, 4), slice(4, 6))


def members(count: int = 5, samples: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.dirichlet(np.ones(h.stop - h.start), (count, samples)) for h in HEADS], axis=2)


def test_the_votes_are_those_of_the_config() -> None:
    assert set(VOTES) == set(Ensemble.model_fields["voting"].annotation.__args__)


@pytest.mark.parametrize("name", VOTES)
def test_every_vote_gives_probabilities_and_ignores_the_order_of_members(name: str) -> None:
    proba = members()
    voted = VOTES[name](proba, HEADS)
    assert voted.shape == proba.shape[1:]
    assert voted.min() >= 0
    for head in HEADS:
        assert voted[:, head].sum(1) == pytest.approx(np.ones(300))
    assert VOTES[name](proba[::-1], HEADS) == pytest.approx(voted)
    assert VOTES[name](proba[:1], HEADS).argmax(1) == pytest.approx(proba[0].argmax(1))


def test_soft_is_the_mean_and_hard_the_most_frequent_label() -> None:
    proba = members()
    assert soft_vote(proba, HEADS) == pytest.approx(proba.mean(0))
    hard = labels_of(hard_vote(proba, HEADS), HEADS)
    ties = 0
    for sample in range(proba.shape[1]):
        for t, head in enumerate(HEADS):
            counts = Counter(proba[:, sample, head].argmax(1).tolist())
            most = max(counts.values())
            tied = [label for label, n in counts.items() if n == most]
            ties += len(tied) > 1
            expected = max(tied, key=lambda label: proba[:, sample, head].mean(0)[label])
            assert hard[sample, t] == expected
    assert ties > 10


def test_agreement_by_hand() -> None:
    labels = [[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 1, 0]]
    proba = np.eye(4)[labels]
    found = agreement(proba, (slice(0, 4),))
    assert found["unanimous"] == 0.5
    assert found["pairwise"] == pytest.approx((0.75 + 0.5 + 0.75) / 3)


def test_the_most_disputed_are_those_with_the_fewest_votes_for_the_answer() -> None:
    rng = np.random.default_rng(0)
    labels, voted = rng.integers(0, 3, (5, 40, 2)), rng.integers(0, 3, (40, 2))
    labels[:, 7] = voted[7]  # nobody disagrees
    rows = most_disputed(labels, voted, 100)
    votes = [sum(tuple(member[row]) == tuple(voted[row]) for member in labels) for row in range(40)]
    assert [votes[row] for row in rows] == sorted(votes[row] for row in rows)
    assert set(rows) == {row for row in range(40) if votes[row] < 5} and 7 not in rows
    assert most_disputed(labels, voted, 3).tolist() == rows[:3].tolist()
    assert most_disputed(labels[:, :0], voted[:0], 3).tolist() == []
