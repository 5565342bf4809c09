"""Which rows train and which validate: folds, and the groups that they keep whole. N samples, T targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tune_digits.config import CombinationGroups, Cv, RowGroups
from tune_digits.data.dataset import Labelled, Target
from tune_digits.data.fingerprint import hash_array, hash_of
from tune_digits.data.folds.kinds import KINDS
from tune_digits.data.folds.subset import codes_of
from tune_digits.errors import DataError


@dataclass(frozen=True, slots=True)
class Fold:
    """One split: `train_idx` and `valid_idx` are int64, sorted, disjoint, and together all rows."""

    index: int
    train_idx: np.ndarray
    valid_idx: np.ndarray


def kind_of(cv: Cv, groups: np.ndarray | None) -> str:
    """The key in KINDS that `cv.kind` comes to."""
    if cv.kind != "auto":
        return cv.kind
    return "stratified" if groups is None else "stratified_grouped"


def make_folds(
    labels: np.ndarray,
    groups: np.ndarray | None,
    cv: Cv,
    targets: tuple[Target, ...] | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
) -> tuple[Fold, ...]:
    """The splits that `cv` asks for: in each repeat the validation parts are a partition of the rows.

    labels: int64 (N, T), 0..classes-1; several targets are stratified by their combination. groups: int64
    (N,) or None; no group is ever split. `columns`, text (N,) each, has the column of folds where `cv` names one.
    `targets` only gives error messages the classes' names. The index of the folds goes on from repeat to repeat.
    Three exceptions to the partition: a holdout is one fold, rows marked -1 in the column of folds and, with
    `cv.lone_groups` "train", groups that alone hold a class train in every fold.

    Raises DataError when a class is too small for its folds, when there are fewer groups than folds, or when some
    fold would train without a class or validate nothing.
    """
    if cv.fold_column is not None:
        parts = _parts_of_column(column_of(columns or {}, cv.fold_column, "cv.fold_column"), groups)
    else:
        dealt = np.arange(len(labels))
        if cv.lone_groups == "train" and groups is not None:
            dealt = np.flatnonzero(~lone_rows(labels, groups))
        parts = _deal(labels, groups, dealt, cv, targets)
    everyone = np.ones(len(labels), bool)
    folds = []
    for index, valid in enumerate(parts):
        train = everyone.copy()
        train[valid] = False
        folds.append(Fold(index, np.flatnonzero(train).astype(np.int64), np.sort(valid).astype(np.int64)))
    _check_folds(folds, labels, groups, targets)
    return tuple(folds)


def fingerprint_of_folds(folds: Sequence[Fold]) -> str:
    """A hash of which rows train and validate in each fold, and of the folds' order."""
    return hash_of([[fold.index, hash_array(fold.train_idx), hash_array(fold.valid_idx)] for fold in folds])


def groups_of(train: Labelled, cv: Cv) -> np.ndarray | None:
    """The groups that `cv.groups` makes of the training rows: int64 (N,), or None where it asks for none.

    Raises DataError for a column that is not there or has an empty value.
    """
    if cv.groups is None:
        return None
    if isinstance(cv.groups, RowGroups):
        return runs_of_rows(len(train), cv.groups)
    if isinstance(cv.groups, CombinationGroups):
        return codes_of(train.labels)
    return np.unique(column_of(train.columns, cv.groups, "cv.groups"), return_inverse=True)[1].astype(
        np.int64
    )


def runs_of_rows(count: int, groups: RowGroups) -> np.ndarray:
    """Groups of `rows_per_group` rows each, the last one shorter: int64 (count,), counting from 0."""
    return np.arange(count, dtype=np.int64) // groups.rows_per_group


def column_of(columns: Mapping[str, np.ndarray], name: str, key: str) -> np.ndarray:
    """The column (N,) that the study's `key` names. Raises DataError where it is missing or has empty values."""
    if name not in columns:
        there = f"It has: {', '.join(columns)}." if columns else "It has no columns beside images and labels."
        raise DataError(f"{key} is {name!r}, but the training set has no such column. {there}")
    values = columns[name]
    empty = np.flatnonzero(values == "")
    if len(empty):
        raise DataError(
            f"{key}: the column {name!r} of the training set is empty in {len(empty):,} row(s), first in row "
            f"{empty[0] + 1}."
        )
    return values


def lone_rows(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Which rows belong to a group that holds all samples of some class: bool (N,)."""
    lone: list[int] = []
    for column in labels.T:
        first, last = np.full((2, column.max() + 1), groups[0])
        first[column] = groups  # any row of the class will do
        np.minimum.at(first, column, groups)
        last[column] = groups
        np.maximum.at(last, column, groups)
        present = np.unique(column)
        lone += first[present][first[present] == last[present]].tolist()
    return np.isin(groups, lone)


def _deal(
    labels: np.ndarray,
    groups: np.ndarray | None,
    dealt: np.ndarray,
    cv: Cv,
    targets: tuple[Target, ...] | None,
) -> list[np.ndarray]:
    """The validation parts of all repeats, made of the rows `dealt`."""
    kind = kind_of(cv, groups)
    if len(dealt) == 0:
        raise DataError(
            "Every group alone holds some class (cv.lone_groups: train): no row is left to validate."
        )
    if kind not in ("random", "grouped"):
        _check_class_sizes(labels, dealt, cv, targets)
    ours = labels[dealt]
    own_groups = None if groups is None else groups[dealt]
    if own_groups is not None:
        _check_groups(len(np.unique(own_groups)), cv)
    if cv.holdout is not None:
        _check_holdout(ours, own_groups, kind, cv.holdout)
    # a row without a group is one of its own
    units = np.arange(len(dealt)) if own_groups is None else own_groups
    parts: list[np.ndarray] = []
    for repeat in range(cv.repeats):
        # far apart, so that the second repeat of one seed is not the first of the next seed
        seed = (cv.seed + 1_000_003 * repeat) % 2**32
        more = [dealt[np.sort(valid)] for valid in KINDS[kind](ours, units, cv, seed)]
        _check_repeat(parts, more)
        parts += more
    return parts


def _parts_of_column(values: np.ndarray, groups: np.ndarray | None) -> list[np.ndarray]:
    names, codes = np.unique(values, return_inverse=True)
    try:
        order = np.argsort([float(n) for n in names], kind="stable")
    except ValueError:
        order = np.arange(len(names))
    parts = [np.flatnonzero(codes == i) for i in order if names[i] not in ("-1", "-1.0")]
    if not 1 <= len(parts) <= 100 or len(parts[0]) == len(values):
        raise DataError(
            f"cv.fold_column has {len(parts):,} different value(s): {', '.join(map(str, names[:5]))} .. It must name "
            "at least two folds (or one, and -1 for the rows that always train), and at most 100."
        )
    if groups is not None:
        fold = np.full(len(values), -1)
        for index, rows in enumerate(parts):
            fold[rows] = index
        pairs = np.unique(np.stack([groups, fold], axis=1), axis=0)
        split = pairs[1:][pairs[1:, 0] == pairs[:-1, 0]]
        if len(split):
            rows = np.flatnonzero(groups == split[0, 0])
            other = rows[fold[rows] != fold[rows[0]]][0]
            raise DataError(
                f"cv.fold_column splits a group of cv.groups: rows {rows[0] + 1} and {other + 1} are of one group, "
                "but in different folds. Leave cv.groups out, or mend the column."
            )
    return parts


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────────


def _class_name(targets: tuple[Target, ...] | None, target: int, label: int) -> str:
    if targets is None:
        return f"class {label}"
    name = f"class {targets[target].classes[label]!r}"
    return name if len(targets) == 1 else f"{name} of {targets[target].name}"


def _check_class_sizes(
    labels: np.ndarray, dealt: np.ndarray, cv: Cv, targets: tuple[Target, ...] | None
) -> None:
    needed = cv.folds if cv.holdout is None else 2
    sides = f"each of the {needed} folds (cv.folds)" if cv.holdout is None else "each side of cv.holdout"
    ways = "fewer folds, " if cv.holdout is None else ""
    for target, column in enumerate(labels.T):
        counts = np.bincount(column)
        values = np.unique(column[dealt])
        rarest = values[np.argmin(counts[values])]
        if counts[rarest] < needed:
            raise DataError(
                f"Too few training samples of {_class_name(targets, target, rarest)}: {counts[rarest]}, but {sides} "
                f"needs one. Use {ways}more data (a larger data.subset), or leave that class out; cv.kind: random "
                "lets folds validate without it."
            )


def _check_groups(count: int, cv: Cv) -> None:
    needed = cv.folds if cv.holdout is None else 2
    if count < needed:
        sides = f"cv.folds = {needed}: each fold" if cv.holdout is None else "cv.holdout: each side"
        raise DataError(
            f"cv.groups gives {count} group(s), too few for {sides} needs at least one. Use fewer folds, "
            "smaller groups, or leave cv.groups out."
        )


def _check_holdout(labels: np.ndarray, groups: np.ndarray | None, kind: str, fraction: float) -> None:
    """Refuse a holdout that leaves one side without a row (a group), or a stratified one without a class."""
    units = len(labels) if groups is None else len(np.unique(groups))
    what = "rows" if groups is None else "groups"
    classes = codes_of(labels).max() + 1 if kind == "stratified" else 1
    smaller = min(math.ceil(fraction * units), math.floor((1 - fraction) * units))
    if smaller < classes:
        need = "one" if classes == 1 else f"one for each of {classes:,} classes (or combinations)"
        raise DataError(
            f"cv.holdout {fraction:g} of {units:,} {what} leaves {smaller:,} on one side, which needs {need}. "
            "Hold out a fraction nearer to one half, use more data, or cv.kind: random."
        )


def _check_repeat(earlier: Sequence[np.ndarray], parts: Sequence[np.ndarray]) -> None:
    """Refuse a repeat with the folds of an earlier one: large groups can leave no other way to keep classes even."""
    for i, part in enumerate(parts):
        for j, other in enumerate(earlier):
            if np.array_equal(part, other):
                raise DataError(
                    f"cv.repeats: fold {len(earlier) + i} would validate the very rows of fold {j}, for the groups "
                    "leave no other way. Use cv.kind: grouped, which deals groups by chance, another cv.seed, or fewer "
                    "repeats."
                )


def _check_folds(
    folds: Sequence[Fold], labels: np.ndarray, groups: np.ndarray | None, targets: tuple[Target, ...] | None
) -> None:
    for fold in folds:
        if len(fold.valid_idx) == 0:
            raise DataError(
                f"Fold {fold.index} would validate nothing: the groups are too uneven for {len(folds)} folds "
                f"(cv.folds). Use fewer folds or smaller groups."
            )
        for target, column in enumerate(labels.T):
            absent = np.setdiff1d(column, column[fold.train_idx])
            if len(absent) == 0:
                continue
            name = _class_name(targets, target, absent[0])
            if groups is None:
                raise DataError(
                    f"Fold {fold.index} would train without {name}: all its {(column == absent[0]).sum():,} sample(s) "
                    "validate there. Use another cv.seed or column of folds, cv.kind: stratified, or leave that class "
                    "out."
                )
            raise DataError(
                f"Fold {fold.index} would train without {name}: all its samples are in too few groups "
                f"to be on both sides. Use smaller groups, another cv.seed, cv.lone_groups: train (such groups then "
                "never validate), or leave cv.groups out."
            )
