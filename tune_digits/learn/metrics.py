"""Scores, larger is better, in NumPy: the same for one training, for out-of-fold predictions and for a vote.

Shape letters: N samples, T targets (heads), K class columns (all heads side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Part of the samples whose predicted class int64 (N,) is the label (N,)."""
    return float((predicted == labels).mean())


def macro_recall(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur in `labels` of the part of their samples found; both int64 (N,).

    scikit-learn's balanced accuracy. Its recall_score counts a class that is only predicted too, as recall 0.
    """
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=predicted == labels)
    present = counts > 0
    return float((hits[present] / counts[present]).mean())


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "macro_recall": macro_recall,
}


def score(
    name: str,
    proba: np.ndarray,
    labels: np.ndarray,
    heads: Sequence[slice],
    weights: Sequence[float] | None = None,
) -> float:
    """The metric `name`, in [0, 1]: the mean over the heads, weighted by `weights` (T,) where given.

    proba: float (N, K), of which only the largest column of each head counts; labels: int64 (N, T); N >= 1.
    Bengali.ai's score is macro_recall with the weights 2, 1, 1.
    """
    per_head = [METRICS[name](proba[:, h].argmax(1), labels[:, t]) for t, h in enumerate(heads)]
    return float(np.average(per_head, weights=weights))
