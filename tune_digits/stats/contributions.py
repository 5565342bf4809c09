"""What each image adds to a score: a score that is a sum over images can be compared image by image.

Shape letters: N images, T targets (heads), K class columns (all heads side by side).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


class NotASum(ValueError):
    """The metric is no sum over images (macro F1): compare its scores by fold, with `paired_t`."""


def _accuracy(labels: np.ndarray) -> np.ndarray:
    return np.full(len(labels), 1 / len(labels))


def _macro_recall(labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels)
    return np.asarray(1 / (np.count_nonzero(counts) * counts[labels]))


# metric -> labels of one target int64 (N,) -> what each image adds if it is right, float64 (N,), with the sum 1
_WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": _accuracy,
    "macro_recall": _macro_recall,
}


def image_weights(metric: str, weights: Sequence[float] | None, labels: np.ndarray) -> np.ndarray:
    """What each image adds to the score by each target that is right: float64 (N, T), with the sum 1.

    metric, weights and labels: as in `contributions`. Its sum over the targets, (N,), is the largest contribution that
    an image can make. Raises NotASum.
    """
    if metric not in _WEIGHTS:
        raise NotASum(f"{metric} is no sum over images; there is one for: {', '.join(_WEIGHTS)}")
    per_target = np.stack([_WEIGHTS[metric](labels[:, t]) for t in range(labels.shape[1])], axis=1)
    share = np.ones(labels.shape[1]) if weights is None else np.asarray(weights, np.float64)
    return np.asarray(per_target * (share / share.sum()))


def contributions(
    metric: str,
    weights: Sequence[float] | None,
    proba: np.ndarray,
    labels: np.ndarray,
    heads: Sequence[slice],
) -> np.ndarray:
    """What each image contributes to the score: float64 (N,), never negative; their sum is the score.

    metric: accuracy (1 / N for a right image) or macro_recall (1 / (classes × images of its class), with the classes
    that occur in `labels`). weights: of the targets (T,); None = equal. proba: float (N, K); the prediction is the
    largest column of each head. labels: int64 (N, T). N >= 1. The sum is that of `tune_digits.learn.metrics.score`.
    Raises NotASum for macro_f1.

    >>> proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> contributions("macro_recall", None, proba, np.array([[0], [1], [1]]), [slice(0, 2)])
    array([0.5 , 0.25, 0.  ])
    """
    right = np.stack([proba[:, h].argmax(1) == labels[:, t] for t, h in enumerate(heads)], axis=1)
    return np.asarray((image_weights(metric, weights, labels) * right).sum(1))
