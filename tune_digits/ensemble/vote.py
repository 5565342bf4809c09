"""Voting. Shapes: M members, N samples, T targets (heads), K class columns (all heads side by side).

What a vote has learned is in its `Ballot`, as plain numbers; `vote_fit.py` learns it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Heads = tuple[slice, ...]
# what the mean probability adds to a vote, so that equal votes are no tie; less than a vote among 1,000
TIE = 1e-3
LEAST = 1e-6  # probabilities below count as this where their logarithm is taken


@dataclass(frozen=True, slots=True)
class Stack:
    """A multinomial logistic regression for one target of k classes, on the log probabilities of C configurations.

    coefficients: k rows of C * k numbers, configuration by configuration; intercepts: k numbers.
    """

    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ballot:
    """How the probabilities of M members become one answer. rule: a name in VOTES.

    weights: for each target M numbers >= 0 with the sum 1, () = all members alike. configurations: for each member the
    place 0..C-1 of its configuration (`stacked` takes the mean of each). families: for each member the number of its
    family (`mixed`). stacks: T regressions (`stacked`). offsets: K numbers that are added to the logarithm of the
    vote's probabilities, () = none.
    """

    rule: str = "soft"
    weights: tuple[tuple[float, ...], ...] = ()
    configurations: tuple[int, ...] = ()
    families: tuple[int, ...] = ()
    stacks: tuple[Stack, ...] = ()
    offsets: tuple[float, ...] = ()

    def for_members(self, configurations: tuple[int, ...], families: tuple[int, ...]) -> Ballot:
        """The ballot of members, where this one is of their configurations: members share the weight of theirs.

        configurations, families: for each member, as above.
        """
        counts = np.bincount(configurations)
        shared = tuple(
            tuple(own[place] / int(counts[place]) for place in configurations) for own in self.weights
        )
        return replace(self, weights=shared, configurations=configurations, families=families)


def soft_vote(proba: np.ndarray, heads: Heads, ballot: Ballot) -> np.ndarray:
    """Mean of the members' probabilities, by weight: (M, N, K) -> float64 (N, K)."""
    if not ballot.weights:
        mean: np.ndarray = proba.mean(axis=0, dtype=np.float64)
        return mean
    result = np.empty(proba.shape[1:], np.float64)
    for head, weights in zip(heads, ballot.weights, strict=True):
        result[:, head] = np.tensordot(np.asarray(weights), proba[:, :, head].astype(np.float64), axes=1)
    return result


def hard_vote(proba: np.ndarray, heads: Heads, ballot: Ballot) -> np.ndarray:
    """Fraction of the members, by weight, that name each class first: (M, N, K) -> float64 (N, K).

    Among equally frequent labels the one with the larger mean probability wins: TIE of the mean is mixed in.
    """
    first = np.zeros(proba.shape, np.float64)
    for head in heads:
        columns = np.arange(head.stop - head.start)
        first[:, :, head] = proba[:, :, head].argmax(axis=2)[:, :, None] == columns
    return _untied(soft_vote(first, heads, ballot), soft_vote(proba, heads, ballot))


def rank_vote(proba: np.ndarray, heads: Heads, ballot: Ballot) -> np.ndarray:
    """Points for each member's order of the classes (Borda count), by weight: (M, N, K) -> float64 (N, K).

    The least likely of k classes gets 0 points, the likeliest k - 1, equally likely ones their mean; divided by the sum
    of all. Equal points go to the larger mean probability. No image depends on another.
    """
    from scipy.stats import rankdata

    points = np.empty(proba.shape, np.float64)
    for head in heads:
        classes = head.stop - head.start
        points[:, :, head] = (rankdata(proba[:, :, head], axis=2) - 1) / (classes * (classes - 1) / 2)
    return _untied(soft_vote(points, heads, ballot), soft_vote(proba, heads, ballot))


def mixed_vote(proba: np.ndarray, heads: Heads, ballot: Ballot) -> np.ndarray:
    """A soft vote within each family, a hard one between families, each with one vote: (M, N, K) -> float64 (N, K)."""
    means = []
    for family in sorted(set(ballot.families)):
        own = np.array([other == family for other in ballot.families])
        inside = []
        alike = ((1.0,) * len(proba),) * len(heads)
        for weights in ballot.weights or alike:
            chosen = np.asarray(weights)[own]
            # a family that a target's weights leave out has its members alike
            shares = chosen / chosen.sum() if chosen.sum() > 0 else np.full(len(chosen), 1 / len(chosen))
            inside.append(tuple(shares.tolist()))
        means.append(soft_vote(proba[own], heads, Ballot(weights=tuple(inside))))
    return hard_vote(np.stack(means), heads, Ballot())


def stacked_vote(proba: np.ndarray, heads: Heads, ballot: Ballot) -> np.ndarray:
    """The regression on the log probabilities of each configuration's mean: (M, N, K) -> float64 (N, K)."""
    owners = np.array(ballot.configurations)
    means = np.stack([proba[owners == place].mean(0, dtype=np.float64) for place in range(owners.max() + 1)])
    result = np.empty(proba.shape[1:], np.float64)
    for head, stack in zip(heads, ballot.stacks, strict=True):
        logits = log_features(means[:, :, head]) @ np.array(stack.coefficients).T + np.array(stack.intercepts)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        result[:, head] = raised / raised.sum(axis=1, keepdims=True)
    return result


def log_features(proba: np.ndarray) -> np.ndarray:
    """Log probabilities of C configurations side by side: (C, N, k) -> float64 (N, C * k)."""
    logs = np.log(np.maximum(proba.astype(np.float64), LEAST))
    return np.asarray(logs.transpose(1, 0, 2).reshape(proba.shape[1], -1))


VOTES: dict[str, Callable[[np.ndarray, Heads, Ballot], np.ndarray]] = {
    "soft": soft_vote,
    "hard": hard_vote,
    "weighted": soft_vote,
    "greedy": soft_vote,
    "stacked": stacked_vote,
    "mixed": mixed_vote,
    "rank": rank_vote,
}


def cast(proba: np.ndarray, heads: Heads, ballot: Ballot) -> np.ndarray:
    """The answer of the members: (M, N, K) -> float64 (N, K), each head's sum is 1."""
    voted = VOTES[ballot.rule](proba, heads, ballot)
    return shifted(voted, heads, np.array(ballot.offsets)) if ballot.offsets else voted


def shifted(proba: np.ndarray, heads: Heads, offsets: np.ndarray) -> np.ndarray:
    """Probabilities whose logarithms are raised by `offsets` float64 (K,), and sum to 1 in each head: (N, K)."""
    result = proba * np.exp(offsets)
    for head in heads:
        result[:, head] /= result[:, head].sum(axis=1, keepdims=True)
    return np.asarray(result)


def _untied(votes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.asarray((votes + TIE * mean) / (1 + TIE))


def labels_of(proba: np.ndarray, heads: Heads) -> np.ndarray:
    """The likeliest class of every head: (N, K) -> int64 (N, T)."""
    return np.stack([proba[:, head].argmax(axis=1) for head in heads], axis=1)


def most_disputed(labels: np.ndarray, voted: np.ndarray, count: int) -> np.ndarray:
    """Samples on which members disagree: int64 (up to `count`,), those with the fewest votes for the answer first.

    labels: int64 (M, N, T) of the members; voted: int64 (N, T), the answer. Equally disputed ones stay in their order.

    >>> members = np.array([[[1], [2], [3]], [[1], [2], [4]], [[1], [5], [6]]])
    >>> most_disputed(members, np.array([[1], [2], [3]]), 10).tolist()
    [2, 1]
    """
    for_answer = (labels == voted).all(axis=2).sum(axis=0)
    order = np.argsort(for_answer, kind="stable")
    disputed: np.ndarray = order[for_answer[order] < len(labels)][:count]
    return disputed


def agreement(proba: np.ndarray, heads: Heads) -> dict[str, float]:
    """How far members agree, (M, N, K) -> fractions in 0..1.

    unanimous: of the samples, those on which all members give the same labels; pairwise: mean over pairs of members
    of the fraction of samples with the same labels (1 for a single member).
    """
    labels = np.stack([labels_of(p, heads) for p in proba])
    unanimous = (labels == labels[0]).all(axis=(0, 2)).mean() if labels.shape[1] else 1.0
    pairs = [
        (labels[i] == labels[j]).all(axis=1).mean()
        for i in range(len(labels))
        for j in range(i)
        if labels.shape[1]
    ]
    return {"unanimous": float(unanimous), "pairwise": float(np.mean(pairs)) if pairs else 1.0}
