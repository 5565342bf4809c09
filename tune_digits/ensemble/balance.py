"""A declared distribution of classes: the vote on a set of images is matched to it. One target, K classes, N images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tune_digits.ensemble.vote import shifted

ROUNDS = 1000
CLOSE = 1e-6  # a class's share of the vote is near enough to the declared one where its logarithm is


def prior_offsets(voted: np.ndarray, priors: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Bayes' rule for other class priors: log(prior / frequency in training), float64 (K,), for `vote.shifted`.

    Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities",
    eq. 2.4. (Their expectation maximisation estimates priors that are not known; these are declared.) Each image is
    judged by itself: the others do not matter. frequencies: > 0.
    """
    return np.asarray(np.log(priors / frequencies))


def sinkhorn_offsets(voted: np.ndarray, priors: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Offsets float64 (K,) with which the mean probability of each class over these images is its prior.

    voted: float64 (N, K), N >= 1. Rows and columns are scaled in turn (Sinkhorn and Knopp 1967), up to ROUNDS times.
    """
    offsets = np.zeros(len(priors))
    for _ in range(ROUNDS):
        share = shifted(voted, (slice(0, len(priors)),), offsets).mean(axis=0)
        step = np.log(priors / np.maximum(share, 1e-300))
        offsets += step
        if np.abs(step).max() < CLOSE:
            break
    return np.asarray(offsets - offsets.mean())


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "prior": prior_offsets,
    "sinkhorn": sinkhorn_offsets,
}


def rows_with_priors(labels: np.ndarray, priors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many of the rows as have the declared distribution, drawn at random: int64 (n,), ascending.

    labels: int64 (N,). Empty where a class has no row.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[rows_with_priors(labels, np.array([0.5, 0.5]), rng)].tolist()
    [0, 0, 1, 1]
    """
    counts = np.bincount(labels, minlength=len(priors))
    wanted = np.floor(priors * (counts / priors).min() + 1e-9).astype(int)
    parts = [rng.permutation(np.flatnonzero(labels == place))[:count] for place, count in enumerate(wanted)]
    return np.sort(np.concatenate(parts))
