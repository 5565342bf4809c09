"""The groups that a configuration does worst on."""

from __future__ import annotations

import numpy as np


def worst_tenth(contributions: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> float:
    """Mean score of the worst tenth of the groups, rounded up to at least one group; in [0, 1].

    contributions: float64 (n,), what each image adds to the score; weights: float64 (n,), what it could add at most
    (for accuracy: right or wrong as 1 or 0, and ones); groups: int64 (n,), the group of each image. A group's score is
    the sum of the one over the sum of the other.

    >>> worst_tenth(np.array([1.0, 0.0, 1.0, 1.0]), np.ones(4), np.array([7, 7, 9, 9]))
    0.5
    """
    _, inverse = np.unique(groups, return_inverse=True)
    scores = np.sort(np.bincount(inverse, contributions) / np.bincount(inverse, weights))
    return float(scores[: max(-(-len(scores) // 10), 1)].mean())
