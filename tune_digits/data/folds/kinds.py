"""How rows are divided into folds, one function for each `cv.kind`. N samples, T targets.

Each takes labels int64 (N, T), groups int64 (N,) and the seed of the shuffle, and gives the rows that validate in each
fold of one repeat, int arrays: `cv.folds` of them, or the holdout alone.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tune_digits.config import Cv
from tune_digits.data.folds.subset import codes_of

MOST_PARTS = 20  # a stratified holdout of whole groups is made of some of at most so many folds


def _strata(labels: np.ndarray, least: int) -> np.ndarray:
    """A code per combination of labels, (N,). Combinations of fewer rows than `least` join the most frequent one."""
    codes = codes_of(labels)
    counts = np.bincount(codes)
    return np.where(counts[codes] < least, np.argmax(counts), codes)


def _stratified(labels: np.ndarray, groups: np.ndarray, cv: Cv, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    strata = _strata(labels, 2 if cv.holdout else cv.folds)
    return _split(StratifiedKFold, StratifiedShuffleSplit, strata, None, cv, seed)


def _multilabel(labels: np.ndarray, groups: np.ndarray, cv: Cv, seed: int) -> list[np.ndarray]:
    """Iterative stratification (Sechidis et al. 2011): every class of every target evenly, the rarest first."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit

    one_hot = np.concatenate([column[:, None] == np.unique(column) for column in labels.T], axis=1)
    return _split(MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit, one_hot, None, cv, seed)


def _random(labels: np.ndarray, groups: np.ndarray, cv: Cv, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import KFold, ShuffleSplit

    return _split(KFold, ShuffleSplit, labels, None, cv, seed)


def _grouped(labels: np.ndarray, groups: np.ndarray, cv: Cv, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import GroupKFold, GroupShuffleSplit

    return _split(GroupKFold, GroupShuffleSplit, labels, groups, cv, seed)


def _stratified_grouped(labels: np.ndarray, groups: np.ndarray, cv: Cv, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import StratifiedGroupKFold

    taken, parts = 1, cv.folds
    if cv.holdout is not None:
        most = min(MOST_PARTS, len(np.unique(groups)))
        share = Fraction(cv.holdout).limit_denominator(most)
        parts = share.denominator if 0 < share < 1 else most
        taken = min(max(1, share.numerator), parts - 1) if share else 1
    cells = codes_of(np.concatenate([labels, groups[:, None]], axis=1))
    if labels.shape[1] > 1 and cells.max() == codes_of(labels).max():
        # a combination that is all in one group cannot be dealt evenly; the classes of one target can
        labels = labels[:, [np.argmax(labels.max(axis=0))]]
    strata = _strata(labels, parts)
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    valid = [v for _, v in splitter.split(labels, strata, groups)]
    return valid if cv.holdout is None else [np.concatenate(valid[:taken])]


KINDS: dict[str, Callable[[np.ndarray, np.ndarray, Cv, int], list[np.ndarray]]] = {
    "stratified": _stratified,
    "grouped": _grouped,
    "stratified_grouped": _stratified_grouped,
    "multilabel": _multilabel,
    "random": _random,
}


def _split(
    folds: Any, shuffle: Any, y: np.ndarray, groups: np.ndarray | None, cv: Cv, seed: int
) -> list[np.ndarray]:
    """The validation parts that scikit-learn's splitter of that kind makes."""
    if cv.holdout is None:
        splitter = folds(cv.folds, shuffle=True, random_state=seed)
    else:
        splitter = shuffle(1, test_size=cv.holdout, random_state=seed)
    return [valid for _, valid in splitter.split(y, y, groups)]
