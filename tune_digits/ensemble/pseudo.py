"""Pseudo-labels (Lee 2013): the vote's sure answers on unlabelled images, taken as labels for one more training."""

from __future__ import annotations

import numpy as np


def select_pseudo(proba: np.ndarray, heads: tuple[slice, ...], cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples on which every head is at least `cut` sure.

    proba float (N, K), the vote. Returns rows int64 (n,), ascending, and targets float32 (n, K), 1 at the likeliest
    class of each head and 0 elsewhere.
    """
    if not 0 < cut <= 1:
        raise ValueError(f"the cut must lie in (0, 1], got {cut}")
    sure = np.min([proba[:, head].max(axis=1) for head in heads], axis=0) >= cut
    rows = np.flatnonzero(sure)
    targets = np.zeros((len(rows), proba.shape[1]), np.float32)
    for head in heads:
        targets[np.arange(len(rows)), head.start + proba[rows, head].argmax(axis=1)] = 1
    return rows, targets
