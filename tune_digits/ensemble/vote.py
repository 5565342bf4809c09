"""Voting. Shapes: M members, N samples, K class columns (all heads side by side)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Heads = tuple[slice, ...]


def soft_vote(proba: np.ndarray, heads: Heads) -> np.ndarray:
    """Mean of the members' probabilities: (M, N, K) -> float64 (N, K)."""
    mean: np.ndarray = proba.mean(axis=0, dtype=np.float64)
    return mean


def hard_vote(proba: np.ndarray, heads: Heads) -> np.ndarray:
    """Fraction of the members that name each class first: (M, N, K) -> float64 (N, K).

    The most frequent label wins; among equally frequent ones the one with the larger mean probability does: a
    fraction of the mean, too small to outweigh a vote, is added.
    """
    members = len(proba)
    votes = np.zeros(proba.shape[1:], np.float64)
    for head in heads:
        first = proba[:, :, head].argmax(axis=2)
        columns = np.arange(head.stop - head.start)
        votes[:, head] = (first[:, :, None] == columns).mean(axis=0)
    mean = soft_vote(proba, heads)
    return (votes + mean / (2 * members)) / (1 + 1 / (2 * members))


VOTES: dict[str, Callable[[np.ndarray, Heads], np.ndarray]] = {"soft": soft_vote, "hard": hard_vote}


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
