"""Who trains and who validates: folds and subsets of rows. N samples, T targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tune_digits.config import Cv
from tune_digits.data.dataset import Target
from tune_digits.errors import DataError


@dataclass(frozen=True, slots=True)
class Fold:
    """One split: `train_idx` and `valid_idx` are int64, sorted, disjoint, and together all rows."""

    index: int
    train_idx: np.ndarray
    valid_idx: np.ndarray


def make_folds(
    labels: np.ndarray, groups: np.ndarray | None, cv: Cv, targets: tuple[Target, ...] | None = None
) -> tuple[Fold, ...]:
    """`cv.folds` splits whose validation parts are a partition of the rows, stratified by class.

    labels: int64 (N, T), 0..classes-1; several targets are stratified by their combination. groups: int64
    (N,) or None; with groups no group is split, and the classes are as even as that allows. `targets` only
    gives error messages the classes' names.

    Raises DataError when a class has fewer samples than there are folds, when there are fewer groups than
    folds, or when some fold would train without a class or validate nothing because of the groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    _check_class_sizes(labels, cv.folds, targets)
    strata = _strata(labels, cv.folds)
    if groups is None:
        splitter = StratifiedKFold(cv.folds, shuffle=True, random_state=cv.seed)
    else:
        n_groups = len(np.unique(groups))
        if n_groups < cv.folds:
            raise DataError(
                f"cv.groups gives {n_groups} group(s), too few for cv.folds = {cv.folds}: each fold needs at "
                f"least one. Use fewer folds, smaller groups, or leave cv.groups out."
            )
        splitter = StratifiedGroupKFold(cv.folds, shuffle=True, random_state=cv.seed)
    folds = tuple(
        Fold(index, np.sort(train).astype(np.int64), np.sort(valid).astype(np.int64))
        for index, (train, valid) in enumerate(splitter.split(np.zeros(len(strata)), strata, groups))
    )
    if groups is not None:
        _check_grouped(folds, labels, targets)
    return folds


def subset_rows(labels: np.ndarray, groups: np.ndarray | None, n: int, seed: int) -> np.ndarray:
    """n of the N rows, drawn at random but evenly: int64 (n,), sorted.

    labels: int64 (N, T); groups: int64 (N,) or None. Each class (combination of labels) gives the same number
    of rows, within one, as long as it has them; within a class so does each group.

    Raises DataError when n is larger than N.
    """
    if n > len(labels):
        raise DataError(f"data.subset is {n:,}, but there are only {len(labels):,} training samples.")
    classes = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.random.default_rng(seed).permutation(len(labels))
    # Put every cell's first row before any second one; then the same for every class, keeping that order.
    if groups is not None:
        cells = np.unique(np.stack([classes, groups], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        order = order[np.argsort(_occurrence(cells[order]), kind="stable")]
    order = order[np.argsort(_occurrence(classes[order]), kind="stable")]
    return np.sort(order[:n]).astype(np.int64)


def _occurrence(codes: np.ndarray) -> np.ndarray:
    """For each entry of codes (N,), how many equal ones stand before it: [5, 7, 5, 5] -> [0, 0, 1, 2]."""
    by_code = np.argsort(codes, kind="stable")
    _, starts, counts = np.unique(codes[by_code], return_index=True, return_counts=True)
    rank = np.empty(len(codes), np.int64)
    rank[by_code] = np.arange(len(codes)) - np.repeat(starts, counts)
    return rank


def _strata(labels: np.ndarray, folds: int) -> np.ndarray:
    """One code per combination of labels, (N,). Combinations too rare for every fold join the commonest."""
    _, codes, counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    codes = codes.reshape(-1)
    return np.where(counts[codes] < folds, np.argmax(counts), codes)


def _class_name(targets: tuple[Target, ...] | None, target: int, label: int) -> str:
    if targets is None:
        return f"class {label}"
    name = f"class {targets[target].classes[label]!r}"
    return name if len(targets) == 1 else f"{name} of {targets[target].name}"


def _check_class_sizes(labels: np.ndarray, folds: int, targets: tuple[Target, ...] | None) -> None:
    for target, column in enumerate(labels.T):
        values, counts = np.unique(column, return_counts=True)
        rarest = np.argmin(counts)
        if counts[rarest] < folds:
            name = _class_name(targets, target, values[rarest])
            raise DataError(
                f"Too few training samples of {name}: {counts[rarest]}, but each of the {folds} folds "
                f"(cv.folds) needs one. Use fewer folds, more data (a larger data.subset), or leave that "
                f"class out."
            )


def _check_grouped(folds: tuple[Fold, ...], labels: np.ndarray, targets: tuple[Target, ...] | None) -> None:
    for fold in folds:
        if len(fold.valid_idx) == 0:
            raise DataError(
                f"Fold {fold.index} would validate nothing: the groups are too uneven for {len(folds)} folds "
                f"(cv.folds). Use fewer folds or smaller groups."
            )
        for target, column in enumerate(labels.T):
            absent = np.setdiff1d(column, column[fold.train_idx])
            if len(absent):
                name = _class_name(targets, target, absent[0])
                raise DataError(
                    f"Fold {fold.index} would train without {name}: all its samples are in too few groups "
                    f"to be on both sides. Use smaller groups, another cv.seed, or leave cv.groups out."
                )
