"""Voting, each against what it should be by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_digits.config import Ensemble
from tune_digits.ensemble.vote import (
    VOTES,
    Ballot,
    Stack,
    agreement,
    cast,
    labels_of,
    most_disputed,
    shifted,
)
from tune_digits.ensemble.vote_fit import FITS

HEADS = (slice(0, 4), slice(4, 6))


def members(count: int = 5, samples: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.dirichlet(np.ones(h.stop - h.start), (count, samples)) for h in HEADS], axis=2)


def ballot(rule: str, count: int, seed: int = 0) -> Ballot:
    """Uneven weights, two families, offsets of classes, and for `stacked` a regression drawn at random."""
    rng = np.random.default_rng(seed)
    weights = tuple(tuple(rng.dirichlet(np.ones(count)).tolist()) for _ in HEADS)
    stacks = tuple(
        Stack(tuple(map(tuple, rng.normal(size=(k, count * k)).tolist())), tuple(rng.normal(size=k).tolist()))
        for k in (4, 2)
    )
    families = tuple(place % 2 for place in range(count))
    return Ballot(rule, weights, tuple(range(count)), families, stacks, tuple(rng.normal(size=6).tolist()))


def test_the_votes_are_those_of_the_config() -> None:
    assert {"auto", *VOTES} == set(Ensemble.model_fields["vote"].annotation.__args__)
    assert set(FITS) < set(VOTES)


# ── what holds for every vote ────────────────────────────────────────────────────────────────────────

every_vote = pytest.mark.parametrize("name", VOTES)
drawn = given(count=st.integers(1, 6), seed=st.integers(0, 10_000))


@every_vote
@drawn
def test_a_vote_is_probabilities_that_sum_to_1_in_each_head(name: str, count: int, seed: int) -> None:
    proba = members(count, 20, seed)
    voted = cast(proba, HEADS, ballot(name, count, seed))
    assert voted.shape == (20, 6) and voted.min() >= 0
    for head in HEADS:
        assert voted[:, head].sum(1) == pytest.approx(np.ones(20))
    np.testing.assert_array_equal(voted, cast(proba, HEADS, ballot(name, count, seed)))


@every_vote
@drawn
def test_the_order_of_members_changes_nothing(name: str, count: int, seed: int) -> None:
    proba, own = members(count, 20, seed), ballot(name, count, seed)
    order = np.random.default_rng(seed).permutation(count).tolist()
    moved = replace(
        own,
        weights=tuple(tuple(w[i] for i in order) for w in own.weights),
        configurations=tuple(own.configurations[i] for i in order),
        families=tuple(own.families[i] for i in order),
    )
    assert cast(proba[order], HEADS, moved) == pytest.approx(cast(proba, HEADS, own))


@every_vote
@drawn
def test_a_member_twice_at_half_the_weight_changes_nothing(name: str, count: int, seed: int) -> None:
    proba, own = members(count, 20, seed), ballot(name, count, seed)
    place = seed % count
    doubled = replace(
        own,
        weights=tuple(
            (*(w / (1 + (i == place)) for i, w in enumerate(ws)), ws[place] / 2) for ws in own.weights
        ),
        configurations=(*own.configurations, place),
        families=(*own.families, own.families[place]),
    )
    voted = cast(np.concatenate([proba, proba[place : place + 1]]), HEADS, doubled)
    assert voted == pytest.approx(cast(proba, HEADS, own))


@every_vote
@given(seed=st.integers(0, 10_000))
def test_one_member_is_itself(name: str, seed: int) -> None:
    if name == "stacked":  # a regression of one member may answer otherwise
        return
    proba = members(1, 20, seed)
    for own in (Ballot(name, families=(0,)), Ballot(name, ((1.0,), (1.0,)), (0,), (0,))):
        voted = cast(proba, HEADS, own)
        np.testing.assert_array_equal(labels_of(voted, HEADS), labels_of(proba[0], HEADS))
        if name not in ("hard", "mixed", "rank"):
            assert voted == pytest.approx(proba[0])


@every_vote
def test_without_weights_all_members_are_alike(name: str) -> None:
    proba, own = members(4, 50), ballot(name, 4)
    alike = replace(own, weights=((0.25,) * 4,) * 2)
    assert cast(proba, HEADS, replace(own, weights=())) == pytest.approx(cast(proba, HEADS, alike))


# ── each vote by hand ────────────────────────────────────────────────────────────────────────────────


def test_soft_is_the_mean_and_hard_the_most_frequent_label() -> None:
    proba = members()
    np.testing.assert_array_equal(cast(proba, HEADS, Ballot()), proba.mean(0))
    hard = labels_of(cast(proba, HEADS, Ballot("hard")), HEADS)
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


ONE = (slice(0, 3),)
# A is sure of 0, B and C prefer 1, each with a little
SURE = np.array([[[0.9, 0.1, 0.0]], [[0.4, 0.5, 0.1]], [[0.4, 0.5, 0.1]]])


def test_weights_weigh_by_hand() -> None:
    soft = cast(SURE, ONE, Ballot("greedy", ((0.5, 0.3, 0.2),)))
    assert soft == pytest.approx(np.array([[0.65, 0.3, 0.05]]))
    hard = cast(SURE, ONE, Ballot("hard", ((0.5, 0.3, 0.2),)))
    assert hard == pytest.approx(
        (np.array([[0.5, 0.5, 0]]) + 1e-3 * soft) / 1.001
    )  # a tie, which A's sureness breaks
    assert cast(SURE, ONE, Ballot("hard", ((0.4, 0.3, 0.3),))).argmax() == 1


def test_each_head_has_weights_of_its_own() -> None:
    proba = members(2, 10)
    voted = cast(proba, HEADS, Ballot("weighted", ((1.0, 0.0), (0.0, 1.0))))
    assert voted == pytest.approx(np.concatenate([proba[0][:, HEADS[0]], proba[1][:, HEADS[1]]], axis=1))


def test_rank_by_hand() -> None:
    # points of A: 2 1 0, of B and C: 1 2 0
    voted = cast(SURE, ONE, Ballot("rank"))
    points = np.array([[4, 5, 0]]) / 9
    assert voted == pytest.approx((points + 1e-3 * SURE.mean(0)) / 1.001)
    tied = np.array([[[0.4, 0.4, 0.2]]])
    assert cast(tied, ONE, Ballot("rank")) == pytest.approx(
        (np.array([[0.5, 0.5, 0]]) + 1e-3 * tied[0]) / 1.001
    )


def test_mixed_gives_each_family_one_vote() -> None:
    # three seeds of one family against one member each of two others
    proba = np.array([[[0.6, 0.4, 0.0]]] * 3 + [[[0.0, 0.9, 0.1]], [[0.2, 0.7, 0.1]]])
    assert cast(proba, ONE, Ballot("hard")).argmax() == 0
    mixed = cast(proba, ONE, Ballot("mixed", families=(0, 0, 0, 1, 2)))
    means = np.array([[0.6, 0.4, 0.0], [0.0, 0.9, 0.1], [0.2, 0.7, 0.1]]).mean(0)
    assert mixed[0] == pytest.approx((np.array([1, 2, 0]) / 3 + 1e-3 * means) / 1.001)
    # inside a family the vote is soft
    inside = np.array([[[0.9, 0.1, 0]], [[0.4, 0.6, 0]], [[0.4, 0.6, 0]]])
    assert cast(inside, ONE, Ballot("mixed", families=(5, 5, 5))).argmax() == 0


def test_stacked_is_the_regression_on_log_probabilities() -> None:
    proba = np.array([[[0.8, 0.2]], [[0.5, 0.5]], [[0.3, 0.7]]])  # the last two are of one configuration
    stack = Stack(((1.0, 0.0, 0.5, 0.0), (0.0, 1.0, 0.0, 0.5)), (0.1, -0.1))
    voted = cast(proba, (slice(0, 2),), Ballot("stacked", configurations=(0, 1, 1), stacks=(stack,)))
    raised = np.array([0.8 * 0.4**0.5 * np.exp(0.1), 0.2 * 0.6**0.5 * np.exp(-0.1)])
    assert voted[0] == pytest.approx(raised / raised.sum())


def test_offsets_raise_log_probabilities() -> None:
    proba = np.array([[0.6, 0.4, 0.5, 0.5]])
    heads = (slice(0, 2), slice(2, 4))
    found = shifted(proba, heads, np.log([1, 3, 1, 1]))
    assert found == pytest.approx(np.array([[0.6 / 1.8, 1.2 / 1.8, 0.5, 0.5]]))
    voted = cast(proba[None], heads, Ballot(offsets=tuple(np.log([1, 3, 1, 1]).tolist())))
    assert voted == pytest.approx(found)


def test_members_share_the_weight_of_their_configuration() -> None:
    own = Ballot("greedy", ((0.6, 0.4), (0.0, 1.0)), (0, 1), (0, 0), offsets=(0.5,))
    shared = own.for_members((0, 1, 1, 1), (0, 1, 1, 1))
    assert shared.weights == (
        pytest.approx((0.6, 0.4 / 3, 0.4 / 3, 0.4 / 3)),
        pytest.approx((0, 1 / 3, 1 / 3, 1 / 3)),
    )
    assert (shared.configurations, shared.families, shared.offsets) == ((0, 1, 1, 1), (0, 1, 1, 1), (0.5,))


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
