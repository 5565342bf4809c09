"""Fewer rows, drawn evenly by class. N samples, T targets."""

from __future__ import annotations

import numpy as np

from tune_digits.errors import DataError


def subset_rows(labels: np.ndarray, groups: np.ndarray | None, n: int, seed: int) -> np.ndarray:
    """n of the N rows, drawn at random but evenly: int64 (n,), sorted.

    labels: int64 (N, T); groups: int64 (N,) or None. The numbers of rows of any two classes (combinations of labels)
    differ by one at most, except that a smaller class gives all it has; the same holds for the groups within a class.

    Raises DataError when n is larger than N.
    """
    if n > len(labels):
        raise DataError(f"data.subset is {n:,}, but there are only {len(labels):,} training samples.")
    classes = codes_of(labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    # Put every cell's first row before any second one; then the same for every class, keeping that order.
    if groups is not None:
        cells = codes_of(np.stack([classes, groups], axis=1))
        order = order[np.argsort(_occurrence(cells[order]), kind="stable")]
    order = order[np.argsort(_occurrence(classes[order]), kind="stable")]
    return np.sort(order[:n]).astype(np.int64)


def codes_of(rows: np.ndarray) -> np.ndarray:
    """A number for each distinct row of int (N, M), all >= 0, counting in their order: int64 (N,).

    >>> codes_of(np.array([[1, 5], [0, 7], [1, 5], [1, 0]])).tolist()
    [2, 0, 2, 1]
    """
    # one number per row sorts ten times as fast as the rows
    numbers = np.ravel_multi_index(tuple(rows.T), tuple(rows.max(axis=0) + 1))
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _occurrence(codes: np.ndarray) -> np.ndarray:
    """For each entry of codes (N,), how many equal ones stand before it.

    >>> _occurrence(np.array([5, 7, 5, 5])).tolist()
    [0, 0, 1, 2]
    """
    by_code = np.argsort(codes, kind="stable")
    _, starts, counts = np.unique(codes[by_code], return_index=True, return_counts=True)
    rank = np.empty(len(codes), np.int64)
    rank[by_code] = np.arange(len(codes)) - np.repeat(starts, counts)
    return rank
